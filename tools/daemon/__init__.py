"""The running instance: one process that holds the cards to the readers, its services and its console."""
