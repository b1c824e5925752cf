"""The worker's app; the test that starts it says with which settings."""

from __future__ import annotations

import json
import os

from tests.fidelity.tasks import make

app = make(json.loads(os.environ["FIDELITY"]))
