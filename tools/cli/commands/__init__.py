"""The commands of the command line, a module to each noun."""
