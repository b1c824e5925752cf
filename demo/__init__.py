"""Batchq at work on text that every Python carries: `make demo`."""
