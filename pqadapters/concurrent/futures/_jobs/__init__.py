"""One job: its bytes, its options, its outcome; how functions, queues and tables are named."""
