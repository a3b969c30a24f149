"""What everybody may know of a JPKI certificate: its profile, its types, its states and reasons."""
