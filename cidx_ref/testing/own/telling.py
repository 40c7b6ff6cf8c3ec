"""What this daemon tells of itself, in words that are its own: its status and diagnostics, its log,
what counts as a failure and for how long, and what it does by its configuration and its clock.

They are among `own.conformance.TARGET.checks`, and run like the kit's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cidx_ref.project import Project as OwnProject
from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Asker, Refused
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.holding import Gate
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.conformance.subject import Daemon, Project
from cidx_ref.testing.conformance.target import words
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.own.faulty import faulted

__all__ = ["CHECKS"]

_PROMPT_S = 10.0
_ASKED = corpus.QUESTIONS[0]


def _until(holds: Callable[[], bool], timeout_s: float = _PROMPT_S) -> bool:
    until = SYSTEM.monotonic() + timeout_s
    while not holds():
        if SYSTEM.monotonic() > until:
            return False
        SYSTEM.sleep(0.01)
    return True


# Status and diagnostics.


@check("told", "QRY-3", "SRV-1", "OBS-1")
def told(bench: Bench) -> None:
    """Index runs, the generation that is live, files that are damaged; the same to each client.
    Where one engine's files are, the other one answers, and says so."""
    with bench.daemon() as daemon, daemon.connect(60.0) as asker:
        with bench.showing("SRV-1"), daemon.connect() as other:
            asker.query("village")
            before = _loads(other)
            other.query("village")
            assert _loads(other) == before, "what one client has loaded, another loads again"
            assert before == 1, f"an index was loaded, and another client is told of {before} loads"
        with bench.showing("OBS-1"):
            daemon.project.write(2)
            _runs_are_told(daemon, asker)
            daemon.project.write(3)
            _generation_is_told(bench, daemon, asker)
            _damage_is_told(daemon, asker)
        with bench.showing("QRY-3"):
            asker.ask("clear")
            answer = asker.query(_ASKED[0], "query_hybrid")
            assert _ASKED[1] in answer.paths, f"without full text, {_ASKED[0]!r} finds {answer}"
            missing = answer.raw.get("unavailable", {})
            assert list(missing) == ["fts"], f"without full text, what is missing is {missing}"


def _loads(asker: Asker) -> int:
    return int(asker.call("get_metrics")["cache"]["load"])


def _runs_are_told(daemon: Daemon, asker: Asker) -> None:
    seen: list[bool] = []

    def look(*event: Any) -> None:
        if not seen:
            with daemon.connect() as other:
                seen.append(other.call("get_status")["indexing"])

    asker.ask("index", progress=look)
    assert seen, "an index run has told nothing of its progress"
    assert seen == [True], "while an index run goes on, the status does not say so"
    assert not asker.call("get_status")["indexing"], "the status tells of a run that has ended"


def _generation_is_told(bench: Bench, daemon: Daemon, asker: Asker) -> None:
    """Also before it is loaded."""
    written = json.loads(bench.write_index(daemon.project).output().splitlines()[-1])
    said = asker.status("generation")
    assert said == written["generation"], (
        f"{written['generation']} is live, and the status says {said}"
    )


def _damage_is_told(daemon: Daemon, asker: Asker) -> None:
    assert asker.call("get_diagnostics")["index_files"]["matches_manifest"], (
        "what is whole is called damaged"
    )
    live = OwnProject(daemon.project.root).generations / "current"
    for path in (live / "fulltext").iterdir():
        if data := path.read_bytes():
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    said = asker.call("get_diagnostics")
    assert not said["index_files"]["matches_manifest"], (
        f"all of the full text is damaged, and it says {said}"
    )


# The log, and what looking does.


@check("log", "OBS-1", "OBS-3")
def log(bench: Bench) -> None:
    """Loads, evictions and refusals are in the log, and why; and who only looks keeps nothing."""
    with bench.daemon(ttl_s=1.0) as daemon, daemon.connect(30.0) as asker:
        asker.query("village")
        generation = str(asker.status("generation"))
        with suppress(Refused):
            asker.call("query", project_path=str(asker.root), query="x", nonsense=1)
        with bench.showing("OBS-1"):
            is_evicted = _until(lambda: bool(asker.call("get_status")["cache_empty"]))
            assert is_evicted, "as long as its status is asked for, nothing is evicted"
        path = OwnProject(daemon.project.root).directory / "daemon.log"
        with bench.showing("OBS-3"):
            for what, parts in {
                "a load": (generation, "load"),
                "an eviction": (generation, "evict"),
                "a refusal": ("nonsense",),
            }.items():
                is_told = _until(lambda parts=parts: _tells(path, parts))  # type: ignore[misc]
                assert is_told, f"the log does not tell of {what}"


def _tells(path: Path, parts: tuple[str, ...]) -> bool:
    lines = path.read_text("utf-8").splitlines()
    return any(all(part in line for part in parts) for line in lines)


# By the clock.

#: Of `--ahead-by`, the TTL, and the window of its health, which is 300 s.
_TTL_S, _WINDOW_S = 600.0, 301.0
_FAILURES = 12


class _Clockwork:
    """A daemon whose clock is set, whose checks are held or fail, and whose queries fail."""

    def __init__(self, bench: Bench) -> None:
        self.first, self.checks, self.queries = Gate(bench), Gate(bench), Gate(bench)
        self._ahead = bench.directory / "ahead"
        self._ahead_s = 0.0
        assert bench.target.faults is not None
        self.command = faulted(
            words(bench.target.faults.hold),
            *("--fail-at", "checking", str(self.checks.path)),
            *("--fail-at", "searching", str(self.queries.path)),
            *("--ahead-by", str(self._ahead)),
        )

    def later(self, seconds: float) -> None:
        self._ahead_s += seconds
        new = self._ahead.with_suffix(".new")
        new.write_text(str(self._ahead_s), "utf-8")
        new.replace(self._ahead)


@check("by-the-clock", "CFG-1", "OBS-2", "TTL-4")
def by_the_clock(bench: Bench) -> None:
    """Minutes are minutes; failures are forgotten after a while, and mistakes are none; it looks at
    once, and goes on after an error."""
    clockwork = _Clockwork(bench)
    project = bench.project(ttl_s=_TTL_S, idle=True)
    _set_interval(project, "0.1", "3600")
    clockwork.first.close()
    placeholders: dict[str, Any] = {"point": "checking", "gate": str(clockwork.first.path)}
    with (
        bench.daemon(project, index=False, command=clockwork.command, **placeholders) as daemon,
        daemon.connect(30.0) as asker,
    ):
        with bench.showing("TTL-4"):
            assert clockwork.first.holds(_PROMPT_S), (
                "with an interval of an hour, it does not look for the first time when it starts"
            )
        _set_interval(project, "3600", "0.1")
        clockwork.first.open()
        with bench.showing("CFG-1"):
            clockwork.later(0.98 * _TTL_S)
            has_left = end_of(daemon.pid, 0.3)
            assert not has_left, f"idle for less than ttl_minutes = {_TTL_S / 60:g}, it has left"
            asker.ask("index")
        with bench.showing("OBS-2"):
            _failures_are_forgotten(asker, clockwork)
        with bench.showing("TTL-4"):
            clockwork.checks.close()
            path = OwnProject(project.root).directory / "daemon.log"
            _until(lambda: _tells(path, ("eviction check failed",)))
            clockwork.checks.open()
            clockwork.later(_TTL_S)
            has_left = end_of(daemon.pid, _PROMPT_S)
            assert has_left, "after a check that failed, it does not look again"


def _set_interval(project: Project, old: str, new: str) -> None:
    path = OwnProject(project.root).config_path
    key = '"eviction_check_interval_seconds": '
    text = path.read_text("utf-8").replace(key + old, key + new)
    path.with_suffix(".new").write_text(text, "utf-8")
    path.with_suffix(".new").replace(path)


def _failures_are_forgotten(asker: Asker, clockwork: _Clockwork) -> None:
    for _ in range(25):
        with suppress(Refused):
            asker.call("query", project_path=str(asker.root), query="x", limit=-1)
    said = asker.ask("health")
    assert said["status"] == "healthy", f"after 25 mistakes of a user it says {said}"
    clockwork.queries.close()
    for _ in range(_FAILURES):
        with suppress(Refused):
            asker.query("village")
    clockwork.queries.open()
    said = asker.ask("health")
    assert said["status"] == "degraded", f"after {_FAILURES} failures it says {said}"
    clockwork.later(_WINDOW_S)
    said = asker.ask("health")
    assert said["status"] == "healthy", f"{_WINDOW_S:g} s after its failures it says {said}"


_INIT = ("init", "--project", "{project}", "--ttl-minutes", "5")


@check("other-programs", "CFG-1")
def other_programs(bench: Bench) -> None:
    """What other programs keep in the configuration stays."""
    with bench.showing("CFG-1"):
        project = bench.project()
        path = OwnProject(project.root).config_path
        document = {"theirs": {"a": [1, None]}, "daemon": {"their_own": 1}}
        path.write_text(json.dumps(document), "utf-8")
        program = words(bench.target.writer)[:-2]  # before `build {project}`
        init = bench.launch(project, [*program, *_INIT])
        assert init.wait(30.0) == 0, init.tail()
        written = json.loads(path.read_text("utf-8"))
        is_kept = written.get("theirs") == document["theirs"]
        assert is_kept, f"`init` made this of what others keep there: {written}"
        assert written["daemon"]["ttl_minutes"] == 5, f"`init` wrote {written}"


CHECKS: tuple[Check, ...] = (told, log, by_the_clock, other_programs)
