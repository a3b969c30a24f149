"""Pseudonyms made out of serial numbers, seven ways, and the converter that makes the blind ones."""
