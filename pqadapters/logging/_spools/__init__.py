"""Where log records wait: places, names, limits, and looks at them."""
