"""Trials that must lose nothing: what was acknowledged before a kill, a power loss or a lost message is still there."""
