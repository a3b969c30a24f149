"""The two JPKI certification authorities and the certificates that they issue."""
