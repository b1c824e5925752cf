"""What Batchq takes of Celery: messages, revokes, chords, limits, states, beat's stand-in."""
