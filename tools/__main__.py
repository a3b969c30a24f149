"""`python -m tools`: the program `kazashi`."""

from tools.command_line import main

main()
