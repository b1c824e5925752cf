"""What prompts cost: tariffs, usage, cost."""
