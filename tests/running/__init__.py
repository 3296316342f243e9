"""`python -m pqadapters run`: programs as they are, with the durable classes in them."""
