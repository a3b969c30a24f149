"""The applications on the chip, and what personalisation writes into each of them."""
