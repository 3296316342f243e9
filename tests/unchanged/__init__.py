"""Programs written for the standard library's `queue`, run as they are and with the import alone swapped."""
