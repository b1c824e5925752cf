"""The shortest complete configuration: what the demo and docker-compose.yml run.

`app.config_from_object("celeryconfig")` reads it. Everything below the first line is there to
survive a Redis that goes away and comes back; batchq itself needs no setting at all.
"""

import os

broker_url = result_backend = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

# A worker that dies gives its messages back, and holds only what it is working on.
task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1

# A connection that died without a word is noticed on both sides of Celery. Without these four
# timeouts a worker behind a half-open connection waits for ever. With them, and with the two
# policies below, whatever sends a task has sent it or raises within 15 seconds.
broker_connection_retry_on_startup = True
broker_transport_options = {
    # Longer than your longest task: a message held longer than this is delivered twice.
    "visibility_timeout": 300,
    # Messages of a dead worker come back after the timeout above, not up to 100 s later.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    # A worker killed while it looks for them keeps the others from looking for this long.
    "unacked_mutex_expire": 10,
    "socket_timeout": 4,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 5,
}
redis_socket_timeout = 4
redis_socket_connect_timeout = 2
result_backend_transport_options = {
    "retry_policy": {
        "max_retries": 20,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 1,
        "timeout": 8,
    }
}
task_publish_retry_policy = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}
# Without it a task fails whose result is ready while Redis is away.
result_backend_always_retry = True

# What Flower shows.
worker_send_task_events = True
task_send_sent_event = True

# How long prompts gather before their batch goes out, and how often it is asked after, in seconds.
# The demo hurries these; where nothing is set they are batchq's own defaults.
batchq_flush_after = float(os.environ.get("BATCHQ_FLUSH_AFTER", "900"))
batchq_tick = float(os.environ.get("BATCHQ_TICK", "5"))
batchq_poll_first = float(os.environ.get("BATCHQ_POLL_FIRST", "5"))
batchq_poll_longest = float(os.environ.get("BATCHQ_POLL_LONGEST", "300"))
