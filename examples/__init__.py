"""Programs to try pqadapters with."""
