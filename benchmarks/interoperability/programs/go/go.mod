module kazashi.example/interoperability

go 1.19

// The newest version that Go 1.19 (Debian 12) compiles.
require golang.org/x/crypto v0.24.0
