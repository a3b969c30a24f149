"""The tracking laboratory: who can link what about people who use their cards, measured on made-up lives."""
