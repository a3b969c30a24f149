"""The running instance: the process that presents the cards to the readers, its services and its console."""
