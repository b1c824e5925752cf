"""The journey of a prompt, one step a file: capture, flush, poll, fetch, resume, rescue."""
