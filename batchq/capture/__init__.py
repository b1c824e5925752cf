"""The worker's side: a body runs, its calls are captured, its answers replayed."""
