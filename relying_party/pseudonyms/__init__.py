"""Seven constructions of pseudonyms, and the converter that translates the blind ones."""
