"""Login with the card: the local agent, an OpenID Connect provider, and a sample site."""
