"""What `queue.Queue` has beside a line of records: its seam for subclasses, its hook names, what goes beyond it."""
