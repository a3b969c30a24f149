"""Studies that read the stores of several actors, which nobody in the real world could: balances, exposure, rulings."""
