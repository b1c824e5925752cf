"""Who looks: events and signals, traces, readings, and what is wrong by them."""
