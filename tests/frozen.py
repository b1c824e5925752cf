"""Imported last by the process that forks (tests/forked.py): what it holds by then stays for good.

So the collector of each fork looks through the fork's own objects, and not through all that was
imported before; it would touch, and so copy, every page that the forks share.
"""

from __future__ import annotations

import gc

gc.collect()
gc.freeze()
