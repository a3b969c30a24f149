"""The resident registry: municipalities, the people registered in them, and their numbers."""
