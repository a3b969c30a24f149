"""Logging in with the card: the local agent, an OpenID Connect provider, a sample site."""
