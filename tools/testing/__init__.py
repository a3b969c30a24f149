"""The test kit for other people's tests: cards and readers as objects, pytest fixtures, and an adapter for vicc."""
