"""The card management system: from a resident to a card on the table."""
