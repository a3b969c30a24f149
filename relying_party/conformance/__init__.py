"""The conformance pack for relying parties: each case has a rule, material to test it on, and the right verdict."""
