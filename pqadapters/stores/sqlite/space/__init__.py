"""Room on the disk: given back, kept for when there is none, allocated ahead."""
