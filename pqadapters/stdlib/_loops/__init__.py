"""What queues of an event loop have beside a line of records: who waits, who wakes them, what is done off the loop."""
