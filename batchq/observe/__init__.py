"""Who looks: events and signals, traces, readings, the health of a Redis."""
