"""Where log records wait: places, names, limits."""
