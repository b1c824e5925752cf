"""The lines of docs/watchers.md, run as they stand there."""

from __future__ import annotations

import re
from typing import Any

from tests.harness import ROOT

__all__ = ["lines_of"]


def lines_of(heading: str) -> dict[str, Any]:
    """Run the Python under a heading; returns the names that it has made."""
    text = (ROOT / "docs" / "watchers.md").read_text()
    _, _, behind = text.partition(f"\n## {heading}\n")
    section, _, _ = behind.partition("\n## ")
    names: dict[str, Any] = {"__name__": "watchers"}
    for block in re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        exec(compile(block, f"docs/watchers.md, {heading}", "exec"), names)  # noqa: S102 our own
    assert len(names) > 2, f"no lines for {heading}"
    return names
