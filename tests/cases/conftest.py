"""The cases stand on what the tests of capture stand on."""

from __future__ import annotations

from tests.capture.conftest import bench, make_bench, pytest_configure, server

__all__ = ["bench", "make_bench", "pytest_configure", "server"]
