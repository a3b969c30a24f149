"""Trials that must lose nothing: what was acknowledged before a kill, a power cut or a lost message is there after it."""
