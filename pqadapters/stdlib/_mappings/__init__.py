"""Tables of a store as mappings: keys and values as bytes, atomic steps, batches, edits; where a shelf lives."""
