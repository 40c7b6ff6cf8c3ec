"""What every benchmark here measures: a real daemon, on a real repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project


@pytest.fixture
def client(stdlib: Project, running: Callable[[Project], int]) -> Iterator[DaemonClient]:
    """Of a daemon that serves the standard library, and has it loaded."""
    running(stdlib)
    with DaemonClient(stdlib, start=False) as connected:
        assert connected.status()["chunks"] >= 9000
        connected.query("warm up")
        yield connected
