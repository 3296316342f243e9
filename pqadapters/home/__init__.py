"""Where queues without a name or path live: applications, places in their source, slots of their processes."""
