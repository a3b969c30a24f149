"""The parts of one world put together: institutions, servers, readers, error codes."""
