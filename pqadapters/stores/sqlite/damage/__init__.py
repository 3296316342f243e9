"""Damaged databases: rows out of raw pages, a new database of what is whole, an index that leads nowhere."""
