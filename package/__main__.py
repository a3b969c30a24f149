"""`python -m kazashi`: the program `kazashi`."""

from kazashi.tools.cli.command_line import main

if __name__ == "__main__":
    main()
