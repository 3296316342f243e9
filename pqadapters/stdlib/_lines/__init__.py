"""A queue's records, as one handle gives them out: in, out, acknowledged, given back. All queues stand on it."""
