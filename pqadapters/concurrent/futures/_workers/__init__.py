"""Who runs jobs: threads and processes of pools of the standard library's."""
