"""The side that relies on a card: verification, verdicts, pseudonyms and tokens, MyKey, a platform for many."""
