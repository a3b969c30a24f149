"""The programs: command line, running instance, demo, and the test kit for other people's tests."""
