"""Install what a command needs: Debian packages and, from a lock file, virtual environments. Standard library only."""
