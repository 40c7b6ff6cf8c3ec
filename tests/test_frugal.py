"""Libraries are told to take little, in processes of ours, and only what the user has not set."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cidx_ref.daemon.memory import be_frugal
from cidx_ref.interpreter import frugal, python_command

NAMES = ("OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX")


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is put back, whatever the test sets
        monkeypatch.delenv(name)


def _limit(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (size, size))


def test_blas_has_one_thread_in_processes_that_are_started() -> None:
    _, environment = python_command("cidx_ref")
    assert environment["OPENBLAS_NUM_THREADS"] == "1"
    assert "OPENBLAS_NUM_THREADS" not in os.environ, "this process may be anybody's"


def test_few_heaps_where_the_address_space_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    _limit(monkeypatch, resource.RLIM_INFINITY)
    assert "MALLOC_ARENA_MAX" not in frugal({})
    _limit(monkeypatch, 1 << 29)
    assert frugal({})["MALLOC_ARENA_MAX"] == "2"


def test_what_the_user_has_set_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    _limit(monkeypatch, 1 << 29)
    for name in NAMES:
        monkeypatch.setenv(name, "7")
    be_frugal()
    assert [os.environ[name] for name in NAMES] == ["7", "7"]


_THREADS = """
import os, sys, threading
from cidx_ref.daemon.memory import be_frugal
if sys.argv[1] == "frugal":
    be_frugal()
import numpy
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has one thread anyway")
def test_numpy_starts_no_thread_in_a_daemon(tmp_path: Path) -> None:
    def threads(how: str) -> int:
        environment = {k: v for k, v in os.environ.items() if k not in NAMES}
        command = [sys.executable, "-c", _THREADS, how]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert threads("frugal") == 1
    if threads("as it is") == 1:
        pytest.skip("this numpy has no library with threads")


_FREED = """
import sys
from cidx_ref.daemon.memory import be_frugal

def megabytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024

if sys.argv[1] == "frugal":
    be_frugal()
del (first := [bytearray(1_500_000)])[:]
before, large, small = megabytes(), [], []
for _ in range(40):
    large.append(bytearray(1_500_000))
    small.append(bytearray(5_000))
large.clear()
print(megabytes() - before)
"""


@pytest.mark.promise("PERF-4")
def test_what_large_messages_took_is_given_back(tmp_path: Path) -> None:
    def left(how: str) -> float:
        command = [sys.executable, "-c", _FREED, how]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert left("frugal") < 5.0
    if left("as it is") < 5.0:
        pytest.skip("this system gives it back by itself")
