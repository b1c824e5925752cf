"""The one room that calls a Batch API."""
