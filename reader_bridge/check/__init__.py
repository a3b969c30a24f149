"""Checks of a reader and its card, as a PC/SC client sees them. They are read-only unless PINs are given."""
