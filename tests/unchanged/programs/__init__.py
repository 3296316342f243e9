"""The programs. None of them knows of pqadapters; the harness copies them, and swaps the import of `queue`."""
