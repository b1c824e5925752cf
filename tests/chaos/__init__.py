"""`make chaos`: thousands of tasks, and every few seconds one of the processes dies or sleeps."""
