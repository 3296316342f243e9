"""One job: its bytes, its options, its outcome, its future; how functions, queues and tables are named."""
