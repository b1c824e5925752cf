"""The commands of `celery -A app batchq`, one verb a file; `terminal` is what they share."""
