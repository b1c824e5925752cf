"""What Batchq puts in place in a process stands in two lists, and nothing else does.

It is looked at in a process of its own: this one has been patched since its first decorator.
"""

from __future__ import annotations

import json
import subprocess
import sys

LOOK = """
import json, sys, types
import aiohttp, celery.backends.base, celery.worker.control, concurrent.futures.thread
import httpx, httpx2, kombu, multiprocessing.pool, openai
import websockets.asyncio.client, websockets.sync.client
from celery import signals
from pydoc import locate

def held():
    "What every function and method of this process is, by its owner and its name."
    modules = [m for m in list(sys.modules.values()) if isinstance(m, types.ModuleType)]
    theirs = [m for m in modules if not m.__name__.startswith(("batchq", "__main__"))]
    classes = {o for m in theirs for o in vars(m).values() if isinstance(o, type)}
    return {(owner, name): value for owner in (*theirs, *classes)
            for name, value in list(vars(owner).items()) if callable(value)}

def changed(before):
    "What is another by now, or is new in a class."
    owners = {owner for owner, _ in before}
    return {(owner, name) for (owner, name), value in held().items() if owner in owners and (
        before[owner, name] is not value if (owner, name) in before else
        isinstance(owner, type))}

def place(dotted):
    owner, _, name = dotted.rpartition(".")
    return locate(owner), name

def heard():
    every = [s for s in vars(signals).values() if isinstance(s, signals.Signal)]
    return {(s.name, receiver) for s in every for _, receiver in s.receivers}

def names(places):
    return sorted(f"{owner.__name__}.{name}" for owner, name in places)

before, heard_before = held(), heard()
import batchq
from batchq.capture.patches import PATCHES
from batchq.installation import RECEIVERS
listed = {place(name) for names in PATCHES.values() for name in names}
by_import = changed(before)
batchq.batched_llm_task(label="first")
by_first = changed(before)
before = held()
batchq.batched_llm_task(label="second")
print(json.dumps({
    "patched by the import": names(by_import),
    "listed and not put": names(listed - by_first),
    "put and not listed": names(by_first - listed),
    "put by a second one": names(changed(before)),
    "heard as listed": heard() - heard_before == {(s.name, r) for s, r in RECEIVERS},
}))
"""


def test_a_process_has_what_is_listed_and_nothing_else() -> None:
    argv = [sys.executable, "-c", LOOK]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "patched by the import": [],
        "listed and not put": [],
        "put and not listed": [],
        "put by a second one": [],
        "heard as listed": True,
    }
