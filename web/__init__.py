"""The ground under every HTTP surface: the guard, mutual TLS, pages, origins."""
