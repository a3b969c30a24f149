"""What other people's verifiers make of the authorities' certificates, lists and OCSP; see docs/interoperability.md."""
