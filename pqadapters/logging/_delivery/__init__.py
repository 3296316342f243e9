"""From the inbox to the sinks: `QueueListener`, and what its threads do."""
