"""The manual: what Batchq does, one idea a file, with nothing but its public names."""
