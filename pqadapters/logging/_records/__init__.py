"""Log records as bytes, and back: all their fields, tracebacks included."""
