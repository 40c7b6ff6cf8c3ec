"""Progress on its way to a callback that may fail, block or never come back (RPC-5, WRITE-2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from cidx_ref import CIDXDaemonService
from cidx_ref.daemon.progress import Mailbox
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Event

_PATIENCE_S = 30.0


class _Stuck:
    """A callback that does not return before it is released."""

    def __init__(self) -> None:
        self.began: Event = SYSTEM.event("began")
        self.go: Event = SYSTEM.event("go")
        self.told: list[tuple[object, ...]] = []

    def __call__(self, *event: object) -> None:
        self.began.set()
        assert self.go.wait(_PATIENCE_S)
        self.told.append(event)


@pytest.fixture
def stuck() -> Iterator[_Stuck]:
    callback = _Stuck()
    yield callback
    callback.go.set()


@pytest.mark.promise("RPC-5")
def test_a_slow_callback_gets_the_newest_and_the_last_and_delays_nobody(stuck: _Stuck) -> None:
    mailbox = Mailbox(stuck)
    mailbox(0, 1000, "", "scanning")
    assert stuck.began.wait(_PATIENCE_S)

    def post() -> None:
        for current in range(1, 1001):
            mailbox(current, 1000, f"{current}.py", "")

    indexing = SYSTEM.thread(post, "indexing")
    indexing.join(5)
    was_delayed = indexing.is_alive()
    stuck.go.set()
    indexing.join(_PATIENCE_S)
    assert not was_delayed
    mailbox.close()
    assert stuck.told == [(0, 1000, "", "scanning"), (1000, 1000, "1000.py")]


@pytest.mark.promise("RPC-5")
@pytest.mark.parametrize("posted_before_close", [True, False])
def test_what_was_posted_before_closing_arrives_and_closing_without_anything_ends(
    posted_before_close: bool,
) -> None:
    for _ in range(50):
        told: list[tuple[object, ...]] = []
        mailbox = Mailbox(lambda *event, told=told: told.append(event))
        if posted_before_close:
            mailbox(1, 1, "a.py", "")
        mailbox.close()
        assert told == [(1, 1, "a.py")] * posted_before_close


@pytest.mark.promise("RPC-5", "OBS-3")
def test_a_callback_that_fails_is_logged_once_and_not_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "cidx_ref")
    calls: list[int] = []
    failed = SYSTEM.event("failed")

    def fail(current: int, total: int, path: str) -> None:
        calls.append(current)
        failed.set()
        raise ValueError("broken terminal")

    mailbox = Mailbox(fail)
    mailbox(1, 3, "a.py", "")
    assert failed.wait(_PATIENCE_S)
    mailbox(2, 3, "b.py", "")
    mailbox(3, 3, "c.py", "")
    mailbox.close()
    assert calls == [1]
    assert [record.message.count("broken terminal") for record in caplog.records] == [1]


@pytest.mark.promise("RPC-5")
def test_a_callback_that_never_returns_costs_its_index_about_a_second_and_nobody_else_anything(
    project: Project, stuck: _Stuck
) -> None:
    service = CIDXDaemonService(project.root)
    started = time.perf_counter()
    report = service.exposed_index(str(project.root), stuck, full=True)
    took_s = time.perf_counter() - started
    assert report["status"] == "completed"
    assert stuck.began.is_set()
    assert took_s < 15
    assert service.gate.calls() == []
    answer = service.exposed_query(str(project.root), "password")
    assert answer["generation"] == report["generation"]


@pytest.mark.promise("RPC-5")
@pytest.mark.parametrize("wrong", [lambda: None, lambda *_: 1 / 0])
def test_an_index_is_completed_though_its_callback_fails(
    project: Project, wrong: Callable[..., object]
) -> None:
    service = CIDXDaemonService(project.root)
    assert service.exposed_index(str(project.root), wrong)["status"] == "completed"
