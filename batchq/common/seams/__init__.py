"""What Batchq uses of Celery, kombu and httpx that none promises to keep, all in one place.

tests/test_seams.py holds each of them against the installed release.
"""
