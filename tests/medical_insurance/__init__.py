"""Tests of medical insurance by card."""
