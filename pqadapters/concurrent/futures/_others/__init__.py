"""Who else runs jobs of the same store: other executors of this process, other processes, other hosts."""
