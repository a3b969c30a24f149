"""For other people's tests: cards and readers as objects, pytest fixtures, our card in the stock vicc."""
