"""The peers of the tracking laboratory's measurements."""
