"""The jobs of one executor in its store, and each step of theirs: submitted, begun, come again, finished, cancelled."""
