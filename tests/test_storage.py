"""The storage of large bodies: what is taken, what is refused, and what each kind does alike."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from batchq.decide.flush import next_flush
from batchq.errors import ConfigurationError, StorageAway
from batchq.journal import LaneRecord
from batchq.journal.storage import Storage, storage_of
from batchq.settings.config import settings
from batchq.settings.record import Settings
from tests.apps.base import make_app
from tests.journals import LANE


def config(where: Any, **more: Any) -> Settings:
    return settings(make_app("storage", batchq_large_bodies=where, **more))


def storage(where: Any) -> Storage:
    made = storage_of(config(where))
    assert made is not None
    return made


KINDS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "text": str,
    "file": lambda path: f"file://{path}",
    "fsspec": lambda path: f"local://{path}",
    "memory": lambda path: f"memory://{path}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_does_the_same(tmp_path: Path, kind: str) -> None:
    kept = storage(KINDS[kind](tmp_path))
    assert kept.read("f/a") is None
    assert list(kept.names("f")) == []
    kept.write("f/a", b"one")
    kept.write("f/a", b"other")
    kept.write("f/b %2F.1.x", b"")
    assert kept.read("f/a") == b"other"
    assert kept.has("f/b %2F.1.x")
    assert sorted(kept.names("f")) == ["f/a", "f/b %2F.1.x"]
    kept.delete("f/a")
    kept.delete("f/a")
    assert not kept.has("f/a")
    assert list(kept.names("f")) == ["f/b %2F.1.x"]


@pytest.mark.parametrize("given", ["relative", "", "~/bodies", 5, b"/bytes", "no scheme://x"])
def test_what_is_no_place_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="the absolute path of a directory"):
        config(given)


@pytest.mark.parametrize("size", [0, -1, "much"])
def test_a_size_is_a_number_of_bytes(size: Any) -> None:
    for setting in ("batchq_large_body_bytes", "batchq_flush_bytes"):
        with pytest.raises(ConfigurationError, match=setting):
            config(None, **{setting: size})


def test_a_url_that_nobody_knows_is_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match=r"batchq_large_bodies = odd://x: fsspec cannot"):
        storage("odd://x")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "fsspec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'batchq\[fsspec\]'"):
        storage("s3://bucket/batchq")


def test_a_password_in_a_url_is_shown_nowhere() -> None:
    config_ = config("sftp://shop:hunter2@files.internal/batchq")
    shown = f"{config_!r} {config_} {config_.model_dump()} {config_.shown_large_bodies}"
    assert "hunter2" not in shown
    assert "sftp://shop:***@files.internal/batchq" in shown


def test_a_directory_is_not_made(tmp_path: Path) -> None:
    """A disk that is not mounted would be written beneath, and hidden when it is."""
    with pytest.raises(StorageAway, match="No such file or directory"):
        storage(tmp_path / "missing").write("f/a", b"one")
    (tmp_path / "file").touch()
    with pytest.raises(StorageAway, match="Not a directory"):
        storage(tmp_path / "file").write("f/a", b"one")


def test_a_lane_goes_when_it_has_so_many_bytes() -> None:
    def why(size: int, **more: Any) -> str:
        record = LaneRecord(lane=LANE, prompts=3, bytes=size, tokens=1, oldest=timedelta(0))
        return next_flush(record, config(None, **more)).why

    assert why(999, batchq_flush_bytes=1_000).startswith("its oldest prompt")
    assert why(1_000, batchq_flush_bytes=1_000) == "it has as many bytes as batchq_flush_bytes"
    assert why(190_000_000) == "it fills a file"
    assert why(189_999_999).startswith("its oldest prompt")
