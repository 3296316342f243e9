"""From the inbox to the sinks: `QueueListener`, what its threads do, and a look at what they have left to do."""
