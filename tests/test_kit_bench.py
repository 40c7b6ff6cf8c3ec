"""What happens at a bench becomes findings, and nothing is left of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import kit_targets
import pytest

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Gone
from cidx_ref.testing.conformance.bench import Bench, NotOffered, NotTried, judged
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons import CHECKS
from cidx_ref.testing.conformance.processes import Household, end_of, is_running
from cidx_ref.testing.conformance.subject import NotStarted
from cidx_ref.testing.conformance.target import Attach, Cap, Spawn, Target
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Verdict

pytestmark = pytest.mark.once


def found(run: Any, *promises: str, target: Target | None = None) -> dict[str, tuple[Verdict, str]]:
    """The findings of a check, by promise."""
    target = target or kit_targets.target()
    findings = judged(check("a-check", *(promises or ("A", "B")))(run), target)
    assert all(finding.check == "a-check" for finding in findings)
    return {finding.promise: (finding.verdict, finding.words) for finding in findings}


def test_what_comes_to_its_end_is_kept_and_the_rest_was_not_tried() -> None:
    def run(bench: Bench) -> None:
        with bench.showing("A"):
            bench.figure("A", "time", 3.0, "ms", limit=5.0)
            bench.tried("A", 2, "rounds")
            bench.tried("A", 3, "rounds")

    findings = judged(check("c", "A", "B")(run), kit_targets.target())
    assert [(f.promise, f.verdict) for f in findings] == [
        ("A", Verdict.KEPT),
        ("B", Verdict.NOT_TRIED),
    ]
    assert findings[0].tried == {"rounds": 5}
    assert str(findings[0].figures[0]) == "time: 3 ms (limit 5 ms)"


@pytest.mark.parametrize(
    ("raised", "verdict", "words"),
    [
        (AssertionError("it is not so"), Verdict.BROKEN, "it is not so"),
        (Gone("nobody"), Verdict.BROKEN, "nobody"),
        (TimeoutError("no answer"), Verdict.BROKEN, "no answer"),
        (NotOffered("needs more"), Verdict.NOT_OFFERED, "needs more"),
        (NotTried("too busy"), Verdict.NOT_TRIED, "too busy"),
        (KeyError("a"), Verdict.NOT_TRIED, "the check itself failed: KeyError: 'a'"),
    ],
)
def test_what_is_raised_while_something_is_shown_is_a_finding(
    raised: Exception, verdict: Verdict, words: str
) -> None:
    def run(bench: Bench) -> None:
        with bench.showing("B"):
            pass
        with bench.showing("A"):
            raise raised

    kept = (verdict, words) if isinstance(raised, KeyError) else (Verdict.KEPT, "")
    assert found(run) == {"A": (verdict, words), "B": kept}, (
        "of a check that fails, nothing is kept"
    )


def test_what_was_broken_once_stays_so() -> None:
    def run(bench: Bench) -> None:
        try:
            with bench.showing("A"):
                raise AssertionError("broken")
        except Exception:
            with bench.showing("A"):
                pass

    assert found(run, "A") == {"A": (Verdict.BROKEN, "broken")}


def test_what_is_raised_elsewhere_is_no_finding() -> None:
    def run(bench: Bench) -> None:
        raise AssertionError("not yet")

    assert found(run, "A") == {"A": (Verdict.NOT_TRIED, "it did not come to that: not yet")}


def test_a_daemon_that_does_not_start_is_shown_with_its_output() -> None:
    program = "import sys; print('it is', 'broken'); sys.exit(7)"
    target = Target(Spawn(["{python}", "-c", program]))

    def run(bench: Bench) -> None:
        with bench.daemon(), bench.showing("A"):
            pass

    verdict, words = found(run, "A", target=target)["A"]
    assert verdict == Verdict.NOT_TRIED
    assert "ended with status 7; it wrote:\nit is broken" in words


def test_a_command_that_is_not_there_is_told() -> None:
    target = Target(Spawn("no-such-program {project}"))
    with Bench(target) as bench, pytest.raises(NotStarted, match="No such file"):
        bench.start(bench.project())


def test_one_that_never_accepts_is_told_so() -> None:
    waits = "import time; time.sleep(60)"
    target = Target(Spawn(["{python}", "-c", waits], ready="ready", patience_s=0.3))
    with Bench(target) as bench, pytest.raises(NotStarted, match="does not write 'ready' within"):
        bench.start(bench.project())


@pytest.mark.parametrize("ready", ["^ready at", ""])
def test_a_daemon_is_there_when_it_says_so_or_accepts(ready: str) -> None:
    target = kit_targets.target(capabilities={Cap.INDEX})
    assert isinstance(target.start, Spawn)
    target = kit_targets.target(
        start=Spawn(target.start.command, ready=ready), capabilities={Cap.INDEX}
    )
    with Bench(target) as bench, bench.daemon() as daemon, daemon.connect() as asker:
        query, path = bench.questions[0]
        assert path in asker.query(query).paths
        assert asker.pid == daemon.pid


BACKGROUND = """
import subprocess, sys
subprocess.Popen(sys.argv[1:], start_new_session=True)
"""


def test_one_that_serves_in_the_background_is_found_and_ended(tmp_path: Path) -> None:
    inner = kit_targets.target().start
    assert isinstance(inner, Spawn)
    start = Spawn(["{python}", "-c", BACKGROUND, *inner.command], ready=inner.ready)
    with Bench(kit_targets.target(start=start)) as bench:
        with bench.daemon() as daemon:
            assert daemon.is_in_background
            assert daemon.process is not None
            assert daemon.pid != daemon.process.pid
            pid = daemon.pid
        assert end_of(pid, 5.0)


def test_a_second_start_is_waited_for() -> None:
    with Bench(kit_targets.target()) as bench, bench.daemon() as daemon:
        second = bench.start_again(daemon)
        assert (second.status, second.output()) == (3, "there is one\n")
        assert daemon.stop() == 0


def test_a_project_is_configured_with_what_the_placeholders_stand_for() -> None:
    with Bench(kit_targets.target()) as bench:
        project = bench.project(edition=2, ttl_s=1.5, idle=True)
        text = (project.root / ".otherd/config.json").read_text()
        assert text == '{"ttl_s": 1.5, "more": {}}'
        assert project.environment() == {"OTHERD_IDLE": "true"}
        assert len(os.fsencode(project.address)) < 100


def test_one_that_was_there_already_is_asked_and_nothing_else() -> None:
    """Whatever is tried of it, it is there afterwards, as it was."""
    with Bench(kit_targets.target()) as bench, bench.daemon() as daemon:
        there = Attach(daemon.address, str(daemon.project.root))
        reports = {Cap.STATUS, Cap.HEALTH, Cap.METRICS, Cap.LOADS, Cap.BY_VALUE}
        target = kit_targets.target(
            start=there,
            capabilities={*reports, Cap.FTS, Cap.HYBRID, Cap.ERRORS, Cap.CLEAR, Cap.INDEX},
            questions=corpus.QUESTIONS[:5],
        )
        findings = [
            finding
            for each in CHECKS
            if not each.spawns and target.offers(*each.needs)
            for finding in judged(each, target)
        ]
        assert [f for f in findings if f.verdict == Verdict.BROKEN] == []
        kept = {f.promise for f in findings if f.verdict == Verdict.KEPT}
        assert kept >= {"SRV-1", "QRY-1", "QRY-4", "RPC-1", "RPC-3", "RPC-4", "RPC-5", "OBS-1"}
        assert daemon.is_running
        with Bench(target) as other, other.daemon() as attached:
            for end in (attached.stop, attached.terminate, attached.kill):
                with pytest.raises(RuntimeError, match="there already is not ended"):
                    end()
            with pytest.raises(NotOffered, match="starts"):
                _ = other.spawn
        assert daemon.is_running


LEAVES_PROCESSES = """
import os, subprocess, sys, time
for _ in range(2):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
time.sleep(60)
"""


def test_everything_that_was_started_is_ended_and_nothing_else(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with Household(tmp_path) as household:
            process = household.start([sys.executable, "-c", LEAVES_PROCESSES])
            assert process.until(lambda: len(household.processes()) == 3, 20.0)
            pids = household.processes()
        assert not any(is_running(pid) for pid in pids)
        assert is_running(other.pid)
    finally:
        other.kill()
        other.wait()


EMPTIES_ITS_ENVIRONMENT = """
import os, socket, sys, time
if "CIDX_KIT" in os.environ:
    if os.fork():
        sys.exit(0)
    os.setsid()
    os.execve(sys.executable, [sys.executable, "-c", sys.argv[2], *sys.argv[1:]], {})
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[1])
sock.listen()
time.sleep(60)
"""


def test_what_has_emptied_its_environment_is_found_by_its_socket(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    own = socket.socket(socket.AF_UNIX)
    with own, Household(tmp_path / "log", tmp_path) as household:
        own.bind(str(tmp_path / "own"))
        text, there = EMPTIES_ITS_ENVIRONMENT, tmp_path / "s"
        process = household.start([sys.executable, "-c", text, str(there), text])
        assert process.wait(20.0) == 0
        deadline = SYSTEM.monotonic() + 20.0
        while not (pids := household.processes()) and SYSTEM.monotonic() < deadline:
            SYSTEM.sleep(0.01)
        assert len(pids) == 1
        assert household.end() == []
    assert not is_running(pids[0])


def test_what_has_only_just_been_started_and_has_no_environment_yet_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child's descriptors close, by which its parent knows it, before that is there."""
    read = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: b"" if path.name == "environ" else read(path)
    )
    household = Household(tmp_path)
    process = household.start(["sleep", "20"])
    another = Household(tmp_path)
    assert another.processes() == household.processes() == [process.pid]
    assert household.end() == []
    assert process.status == -signal.SIGKILL


INTERRUPTED = """
import sys
sys.path[:0] = sys.argv[1:]
import kit_targets
from cidx_ref.testing.conformance.bench import Bench
with Bench(kit_targets.target()) as bench, bench.daemon() as daemon:
    print(daemon.pid, bench.directory, flush=True)
    sys.stdin.read()
"""


def test_ctrl_c_leaves_nothing() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        pid, directory = child.stdout.readline().split()
        child.send_signal(signal.SIGINT)
        child.wait(20)
    assert end_of(int(pid), 5.0)
    assert not Path(directory).exists()


def test_a_daemon_that_is_too_quick_is_told_what_would_show_it() -> None:
    started, attached = kit_targets.target(), Target(Attach("/x"))
    said = [Bench(target).too_quick(0.3) for target in (started, attached)]
    assert all(words.startswith("no query takes 0.3 s, however long its text") for words in said)
    assert "(Target.corpus)" in said[0]
    assert "(Target.questions)" in said[1]


@pytest.mark.parametrize("what", ["end", "rmtree"])
def test_an_interrupt_while_a_bench_is_taken_down_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    home = Household if what == "end" else shutil
    take_down, interrupts = getattr(home, what), [KeyboardInterrupt()]

    def interrupted(*args: Any, **options: Any) -> Any:
        if interrupts:
            raise interrupts.pop()
        return take_down(*args, **options)

    bench = Bench(Target(Spawn(["sleep", "20"])), home=tmp_path).__enter__()
    process = bench.launch(bench.project())
    monkeypatch.setattr(home, what, interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.__exit__()
    assert not is_running(process.pid)
    assert list(tmp_path.iterdir()) == []
