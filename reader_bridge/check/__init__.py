"""What a reader and the card in it do, looked at from a PC/SC client: read-only unless told otherwise."""
