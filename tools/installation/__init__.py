"""What an installation of Kazashi consists of."""
