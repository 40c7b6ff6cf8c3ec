"""The gate: who is inside, who may come in, and when all have left (SRV-4, TTL-5)."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cidx_ref import CIDXDaemonService
from cidx_ref.daemon.gate import Gate
from cidx_ref.errors import BusyError, IndexingError, ShuttingDownError
from cidx_ref.index.generation import Generations
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.clock import FakeRuntime

_PATIENCE_S = 30.0


def _outcome_of(work: Callable[[], object]) -> Callable[[], Any]:
    """Run `work` in a thread; the function returned waits for it, and returns what came of it."""
    outcomes: list[Any] = []

    def run() -> None:
        try:
            outcomes.append(work())
        except Exception as error:
            outcomes.append(error)

    thread = SYSTEM.thread(run, "caller")

    def outcome() -> Any:
        thread.join(_PATIENCE_S)
        assert not thread.is_alive(), "hangs"
        return outcomes[0]

    return outcome


@pytest.mark.promise("SRV-4")
def test_a_closed_gate_refuses_what_is_new_and_waits_for_what_is_inside(fake: FakeRuntime) -> None:
    gate = Gate(fake)
    with gate.call("query", is_use=True):
        gate.close()
        with pytest.raises(ShuttingDownError), gate.call("ping", is_use=False):
            raise AssertionError("was let in")
        assert [call.method for call in gate.calls()] == ["query"]
        assert not gate.wait_until_empty(0)
        all_left = _outcome_of(lambda: gate.wait_until_empty(2 * _PATIENCE_S))
    assert all_left() is True
    assert gate.is_closed


@pytest.mark.promise("RPC-6", "SRV-4")
def test_no_more_calls_are_let_in_than_the_limit_and_each_that_leaves_makes_room(
    fake: FakeRuntime,
) -> None:
    gate = Gate(fake, max_calls=3)
    for _ in range(3):
        with ExitStack() as inside:
            for _ in range(3):
                inside.enter_context(gate.call("query", is_use=True))
            with pytest.raises(BusyError, match="3 calls"), gate.call("query", is_use=True):
                raise AssertionError("was let in")
            assert len(gate.calls()) == 3
        assert gate.calls() == []


@pytest.mark.promise("RPC-5")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_call_that_ends_badly_has_left_all_the_same(
    fake: FakeRuntime, error: type[BaseException]
) -> None:
    gate = Gate(fake)
    with pytest.raises(error), gate.call("query", is_use=True):
        raise error
    assert gate.calls() == []
    assert gate.wait_until_empty(0)


@pytest.mark.promise("OBS-3")
def test_calls_inside_are_told_with_their_start_the_longest_first(fake: FakeRuntime) -> None:
    gate = Gate(fake)
    with gate.call("index", is_use=True):
        fake.advance(5)
        with gate.call("gone", is_use=True):
            pass
        with gate.call("query", is_use=True):
            fake.advance(2)
            ages = [(call.method, fake.monotonic() - call.started) for call in gate.calls()]
    assert ages == [("index", 7.0), ("query", 2.0)]


@pytest.mark.promise("TTL-5")
def test_an_idle_gate_closes_at_the_time_and_not_before(fake: FakeRuntime) -> None:
    gate = Gate(fake)
    fake.advance(10)
    with gate.call("query", is_use=True):
        fake.advance(100)
        assert not gate.close_if_idle(0)
    fake.advance(59.5)
    with gate.call("ping", is_use=False):
        pass
    assert not gate.close_if_idle(60)
    assert not gate.is_closed
    fake.advance(0.5)
    assert gate.close_if_idle(60)
    assert gate.is_closed


@pytest.mark.promise("TTL-5", "SRV-4")
def test_a_gate_closed_for_another_reason_is_not_idle_while_somebody_is_inside(
    fake: FakeRuntime,
) -> None:
    gate = Gate(fake)
    with gate.call("query", is_use=True):
        gate.close()
        assert not gate.close_if_idle(0)


class _Meanwhile(FakeRuntime):
    """Lets another thread in while the gate reads the clock, until that enters or has to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.settled = SYSTEM.event("settled")
        self.meanwhile: Callable[[], object] | None = None

    def condition(self, name: str) -> Any:
        inner: Any = super().condition(name)
        settled = self.settled

        class Watched:
            wait_for, notify_all = inner.wait_for, inner.notify_all

            def __enter__(self) -> None:
                if not inner.acquire(blocking=False):
                    settled.set()
                    inner.acquire()

            def __exit__(self, *details: object) -> None:
                inner.release()

        return Watched()

    def monotonic(self) -> float:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
            assert self.settled.wait(_PATIENCE_S)
        return super().monotonic()


@pytest.mark.promise("TTL-5", "SRV-4")
def test_a_call_that_comes_while_the_gate_looks_whether_it_is_idle_is_not_locked_in() -> None:
    runtime = _Meanwhile()
    gate = Gate(runtime)
    leave = SYSTEM.event("leave")
    callers: list[Callable[[], Any]] = []

    def call() -> None:
        with gate.call("query", is_use=True):
            runtime.settled.set()
            assert leave.wait(_PATIENCE_S)

    runtime.advance(60)
    runtime.meanwhile = lambda: callers.append(_outcome_of(call))
    closed = gate.close_if_idle(60)
    inside = gate.calls()
    leave.set()
    outcome = callers[0]()
    assert not (closed and inside)
    assert isinstance(outcome, ShuttingDownError if closed else type(None))


# The service's use of it.


@pytest.mark.promise("SRV-4")
def test_draining_waits_for_a_query_and_answers_it(project: Project, fake: FakeRuntime) -> None:
    service = CIDXDaemonService(project.root, runtime=fake)
    began, go = SYSTEM.event("began"), SYSTEM.event("go")

    def hold() -> None:
        began.set()
        assert go.wait(_PATIENCE_S)

    fake.at("open generation", hold)
    answer = _outcome_of(lambda: service.exposed_query(str(project.root), "password"))
    assert began.wait(_PATIENCE_S)
    service.shutdown()
    with pytest.raises(ShuttingDownError):
        service.exposed_query(str(project.root), "password")
    drained = _outcome_of(lambda: service.drain(2 * _PATIENCE_S))
    go.set()
    assert answer()["results"]
    assert drained() is None
    assert service.gate.calls() == []


@pytest.mark.promise("SRV-4", "WRITE-3", "OBS-1")
def test_draining_ends_an_index_that_takes_too_long_and_tells_its_client(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An indexing process that reports once, takes the key, and never says anything again.
    stuck = tmp_path / "stuck"
    stuck.write_text(
        '#!/bin/sh\necho \'{"progress": [0, 1, "", ""]}\'\nhead -c 64 > /dev/null\nexec cat\n'
    )
    stuck.chmod(stat.S_IRWXU)
    monkeypatch.setattr(sys, "executable", str(stuck))
    service = CIDXDaemonService(project.root)
    generation = service.exposed_get_status()["generation"]
    began = SYSTEM.event("began")
    answer = _outcome_of(
        lambda: service.exposed_index(str(project.root), lambda *event: began.set())
    )
    assert began.wait(_PATIENCE_S)
    is_told = service.exposed_get_status()["indexing"]
    service.gate.close()
    started = time.perf_counter()
    service.drain(0.05)
    assert time.perf_counter() - started < 5
    assert isinstance(answer(), ShuttingDownError)
    assert is_told
    assert service.gate.calls() == []
    assert Generations(project.generations).current() == generation


@pytest.mark.promise("RPC-5")
@pytest.mark.filterwarnings("error")
def test_an_index_that_cannot_even_start_leaves_no_thread_and_no_call_behind(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    service = CIDXDaemonService(project.root)
    before = set(SYSTEM.threads())
    with pytest.raises(IndexingError, match="no indexing process can be started: No such file"):
        service.exposed_index(str(project.root), print)
    left = [thread for thread in SYSTEM.threads() if thread not in before]
    for thread in left:
        thread.join(2)
    assert [thread.name for thread in left if thread.is_alive()] == []
    assert service.gate.calls() == []


@pytest.mark.promise("OBS-1")
def test_a_daemon_full_of_calls_can_still_be_asked_what_it_does_and_be_stopped(
    project: Project,
) -> None:
    service = CIDXDaemonService(project.root, max_calls=1)
    with service.gate.call("query", is_use=True):
        with pytest.raises(BusyError, match="1 calls"):
            service.exposed_query(str(project.root), "retry")
        inside = service.exposed_get_diagnostics()["in_flight"]
        assert [call["method"] for call in inside] == ["query", "get_diagnostics"]
        assert service.exposed_shutdown()["status"] == "shutting down"
