"""Notify: what needs somebody's attention is posted to Slack-compatible webhooks, or by Apprise.

    app.conf.batchq_notify = "env:BATCHQ_NOTIFY"   # where the URLs come from

or, in code that has the URL already, ``batchq.notify.install(app, url)`` where the app is made.
"""

from batchq.notify.receivers import NEWS, install

__all__ = ["NEWS", "install"]
