"""Who exists in one world, and how they are wired: institutions, servers, readers, error codes."""
