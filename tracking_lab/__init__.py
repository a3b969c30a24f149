"""The tracking laboratory measures who can link what about card users, on generated populations."""
