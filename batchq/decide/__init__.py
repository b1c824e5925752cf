"""What happens next: pure decisions."""
