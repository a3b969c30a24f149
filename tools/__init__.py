"""The programs: command line, running instance, demonstration, and the kit for other people's tests."""
