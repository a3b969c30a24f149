"""The ground under every HTTP surface: mutual TLS, pages, origins."""
