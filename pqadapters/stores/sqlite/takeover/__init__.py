"""Another program's file in the place where a database of ours is to be."""
