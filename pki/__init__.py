"""The two authorities of the public personal authentication service (JPKI), and the certificates that they issue."""
