"""What every HTTP server here is built on: limits and error responses, mutual TLS, pages, origins, ports."""
