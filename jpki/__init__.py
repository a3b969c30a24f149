"""The public facts about JPKI certificates: profiles, certificate types, states and revocation reasons."""
