"""A conformance pack for relying parties: cases that state a rule, the material to try it on, and the verdict."""
