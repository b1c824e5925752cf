"""What every room may stand on, whatever its concern: crash points, seams, records of settings."""
