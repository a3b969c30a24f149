"""What reads across the stores of several actors, as nobody in the real world could: balances, exposure, rulings."""
