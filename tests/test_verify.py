"""The command line that judges a daemon: what it prints and writes, and its exit status."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cidx_ref.interpreter import python_command
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.conformance import arguments, running, verify
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.homes import RUN, home
from cidx_ref.testing.conformance.mutants import Mutant, mutants_of
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.conformance.verify import main

pytestmark = pytest.mark.once

MODULE = """
import os
import signal

from cidx_ref.testing import Attach, Measured, Spawn, Target, check

@check("serving", "SRV-1", "SRV-2")
def serving(bench):
    with bench.showing("SRV-1", "SRV-2"):
        bench.figure("SRV-1", "p95 of 20 calls", 3.25, "ms", limit=100)
        bench.tried("SRV-1", 20, "calls")

@check("crashing", "SRV-3")
def crashing(bench):
    with bench.showing("SRV-3"):
        bench.trace("SRV-3", "kill -9\\nstart")
        raise AssertionError("it does not <serve> again \\x1b[31m& again")

@check("failing", "SRV-4")
def failing(bench):
    raise TypeError("a bug")

@check("own", "MY-1")
def own(bench):
    with bench.showing("MY-1"):
        pass

@check("interrupted", "CACHE-1")
def interrupted(bench):
    os.kill(os.getppid(), signal.SIGTERM)  # SIGINT is ignored in the background of a shell
    signal.pause()  # until that has reached it from there

GOOD = Target(Spawn("true"), checks=[serving])
BAD = Target(Spawn("true"), checks=[serving, crashing])
FAILS = Target(Spawn("true"), checks=[serving, failing])
OWN = Target(Spawn("true"), checks=[own])
ATTACHED = Target(Attach("/nowhere"), checks=[serving])
STOPS = Target(Spawn("true"), checks=[serving, interrupted, crashing])
LOST = Target(Spawn("no-such-daemon --fast"), checks=[serving])
WRITER = Target(Spawn("true"), writer="no-such-writer", checks=[serving])
NUMBER = 5
"""

EXCUSE = '[[excuse]]\nid = "SRV-3"\nreason = "waits for its manager"\n'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a module, where the command line is used; and no checks of the kit."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(running, "CHECK_MODULES", ())
    monkeypatch.setattr(running, "SUBJECTS", {})
    monkeypatch.setenv("COLUMNS", "100")
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]


Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Status, and the lines of standard output and error."""

    def call(*arguments: str) -> tuple[int, list[str], list[str]]:
        status = main(arguments)
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    return call


def test_what_is_kept_is_said_with_its_figures_and_ends_with_0(run: Run) -> None:
    status, out, err = run("mine:GOOD")
    assert status == 0
    assert out[0].split()[:2] == ["SRV-1", "kept"]
    assert [line.strip() for line in out[1:3]] == [
        "p95 of 20 calls: 3.25 ms (limit 100 ms)",
        "tried: 20 calls",
    ]
    assert out[-2].startswith("promises: 2 kept; ")
    assert out[-1] == "All 2 promises that were tried are kept."
    assert len(err) == 1
    assert err[0].startswith("[1/1] serving: SRV-1 kept, SRV-2 kept (")


def test_what_is_broken_is_said_with_its_steps_and_a_line_that_replays_it(run: Run) -> None:
    status, out, _ = run("mine:BAD", "--seed", "5")
    assert status == 3
    at = next(n for n, line in enumerate(out) if line.startswith("SRV-3"))
    broken = [line.strip() for line in out[at:]]
    assert broken[0] == r"SRV-3  broken       it does not <serve> again \x1b[31m& again"
    assert broken[1].startswith("promised: after kill -9")
    assert broken[2:5] == [
        "| kill -9",
        "| start",
        "replay: cidx-verify mine:BAD --only crashing --seed 5",
    ]
    assert out[-1] == "1 of 3 promises that were tried is broken."


@pytest.mark.parametrize("target", ["FAILS", "ATTACHED"])
def test_what_could_not_be_tried_and_nothing_tried_at_all_end_with_3(run: Run, target: str) -> None:
    status, out, _ = run(f"mine:{target}")
    assert status == 3
    assert "not tried" in " ".join(out) or out[-1] == "Nothing was tried, so nothing is known."


def test_a_target_can_be_named_by_its_file(run: Run, project: Path) -> None:
    (project / "deep").mkdir()
    (project / "mine.py").rename(project / "deep/other.py")
    assert run("deep/other.py:GOOD")[0] == 0
    assert run(f"{project}/deep/other.py:BAD")[0] == 3


def test_reports_are_written_and_say_the_same(run: Run, project: Path) -> None:
    options = ("--json", "out/r.json", "--junit", "out/r.xml", "--html", "out/r.html")
    assert run("mine:BAD", *options)[0] == 3
    told = json.loads((project / "out/r.json").read_text("utf-8"))
    assert (told["target"], told["status"], told["counts"]) == (
        "mine:BAD",
        3,
        {"broken": 1, "kept": 2},
    )
    assert [(row["id"], row["verdict"]) for row in told["promises"]] == [
        ("SRV-1", "kept"),
        ("SRV-2", "kept"),
        ("SRV-3", "broken"),
    ]
    assert told["promises"][0]["findings"][0]["figures"] == [
        {"name": "p95 of 20 calls", "value": 3.25, "unit": "ms", "limit": 100}
    ]
    suite = ET.parse(project / "out/r.xml").getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("mine:BAD", "3", "1")
    assert "it does not &lt;serve&gt; again" in (project / "out/r.html").read_text("utf-8")


def test_an_excuse_makes_a_broken_promise_excused(run: Run, project: Path) -> None:
    (project / "excuses.toml").write_text(EXCUSE)
    status, out, _ = run("mine:BAD", "--excuses", "excuses.toml")
    assert status == 0
    assert any(line.startswith("SRV-3  excused") for line in out)
    assert out[-1] == "All 2 promises that were tried are kept, but for 1 that is excused."


def test_an_excuse_without_use_is_an_error_after_all_is_said(run: Run, project: Path) -> None:
    (project / "excuses.toml").write_text(EXCUSE.replace("SRV-3", "SRV-1"))
    status, out, _ = run("mine:GOOD", "--excuses", "excuses.toml", "--json", "r.json")
    assert status == 2
    assert out[-1] == "the excuse of SRV-1 is stale: the promise is kept"
    assert json.loads((project / "r.json").read_text("utf-8"))["stale_excuses"] == [out[-1]]
    (project / "excuses.toml").write_text(EXCUSE)
    assert run("mine:BAD", "--excuses", "excuses.toml", "--only", "serving")[0] == 0, "not judged"
    assert run("mine:GOOD", "--excuses", "excuses.toml")[0] == 2, "nobody tries it"


def test_promises_of_ones_own_are_known_from_a_file(run: Run, project: Path) -> None:
    (project / "promises.toml").write_text('[promises]\n"MY-1" = "an answer names its shard"\n')
    status, out, _ = run("mine:OWN", "--promises", "promises.toml")
    assert status == 0
    assert out[0] == "MY-1  kept         an answer names its shard"
    options = ("--promises", "promises.toml", "--json", "r.json")
    run("mine:OWN", *options)
    (row,) = json.loads((project / "r.json").read_text("utf-8"))["promises"]
    said = "cidx-verify mine:OWN --promises promises.toml --only own --seed 0"
    assert row["findings"][0]["replay"] == said
    assert run("mine:OWN")[0] == 2


def test_an_interrupt_prints_what_is_known(run: Run, project: Path) -> None:
    status, out, err = run("mine:STOPS", "--json", "r.json", "--at-once", "1")
    assert status == 130
    assert err[-1] == "at work: interrupted"
    assert out[0].startswith("SRV-1  kept")
    assert "interrupted: what is not listed was not come to" in out
    assert json.loads((project / "r.json").read_text("utf-8"))["interrupted"] is True


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_progress_is_one_line_and_what_is_broken_stays(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert run("mine:BAD", "--at-once", "1")[0] == 3
    shown = [line.rpartition("\r")[2] for line in terminal.getvalue().split("\n")]
    clear = "\x1b[K"
    assert shown == [f"{clear}\x1b[31;1m[2/2] crashing: SRV-3 broken\x1b[0m", clear]
    assert "[1/2] serving …" in terminal.getvalue()


def test_a_reader_that_has_seen_enough_is_no_traceback(project: Path) -> None:
    command, environment = python_command("cidx_ref.testing.conformance", "--list")
    judge = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert judge.stdout is not None
    assert judge.stderr is not None
    with judge:
        judge.stdout.close()
        assert judge.stderr.read() == ""


@pytest.mark.parametrize(("to", "status"), [(">&-", 0), ("2>&-", 0), (">/dev/full", 2)])
def test_an_output_that_cannot_be_written_is_no_traceback(
    project: Path, to: str, status: int
) -> None:
    command, environment = python_command("cidx_ref.testing.conformance", "--list")
    shell = ["sh", "-c", f'"$@" {to}', "sh", *command]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == (1 if status else 0)


def test_the_checks_can_be_listed_without_a_target_and_for_one(run: Run) -> None:
    assert run("--list") == (0, ["0 checks, 0 promises"], [])
    status, out, _ = run("mine:ATTACHED", "--list")
    assert status == 0
    assert out[0] == "serving: SRV-1, SRV-2"
    assert out[1].startswith("    not offered: needs a daemon that the kit starts")


STARTS = """
from cidx_ref.testing import Spawn, Target, check

@check("starting", "SRV-1")
def starting(bench):
    bench.start(bench.project())

TARGET = Target(Spawn(["sh", "-c", "echo $$ $(umask) > pid; exec sleep 1000"]), checks=[starting])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["cidx_ref.testing.conformance", "cidx_ref"])
def test_a_signal_ends_what_was_started_and_what_is_known_is_printed(
    project: Path, number: signal.Signals, module: str
) -> None:
    pid, homes = project / "pid", project / "homes"
    homes.mkdir()
    text = STARTS.replace("> pid", f"> {pid}.new; mv {pid}.new {pid}")
    (project / "starts.py").write_text(text)
    command, environment = python_command(module, *["verify"] * (module == "cidx_ref"))
    command += ["starts:TARGET", "--only", "starting", "--json", "r.json"]
    options: dict[str, Any] = {"cwd": project, "env": {**environment, "TMPDIR": str(homes)}}
    judge = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options
    )
    deadline = SYSTEM.monotonic() + 30
    while not pid.exists() and SYSTEM.monotonic() < deadline:
        SYSTEM.sleep(0.01)
    judge.send_signal(number)
    out, _ = judge.communicate(timeout=30)
    assert judge.returncode == 130
    assert "interrupted: what is not listed was not come to" in out.splitlines()
    assert json.loads((project / "r.json").read_text("utf-8"))["interrupted"] is True
    process, umask = pid.read_text().split()
    assert end_of(int(process), 5), "killed before, and perhaps waited for by init only now"
    os.umask(mine := os.umask(0o077))
    assert int(umask, 8) == mine, "as if its user had started it"


FILES = {
    "expired.toml": EXCUSE + "expires = 2020-01-31\n",
    "unknown.toml": EXCUSE.replace("SRV-3", "SRV-99"),
    "reasonless.toml": '[[excuse]]\nid = "SRV-3"\n',
    "bad.toml": "[[excuse\n",
    "clash.toml": '[promises]\n"SRV-1" = "something else"\n',
    "raises.py": "import mine\n1 / 0\n",
    "wrong.py": "def (\n",
    "needs.py": "import no_such_library\n",
    "leaves.py": "raise SystemExit(0)\n",
    "methods.py": "from cidx_ref.testing import Methods\nMethods(query='search')\n",
    "hits.py": "from cidx_ref.testing import Spawn, Target\n\nX = Target(Spawn('true'), hits=3)\n",
    "posts.py": """
from dataclasses import replace
from mine import *
from cidx_ref.testing import Cap, Faults
FILE = Target(Attach("mine.py"), checks=[serving])
PROJECT = Target(Attach("/nowhere", "elsewhere"), checks=[serving])
LAUNCHER = replace(GOOD, launcher="no-such-launcher")
CRASH = replace(GOOD, faults=Faults(crash="no-such-crash {point}"))
class Making:
    @property
    def target(self): raise OSError("a  bug")
MAKING = Making()
HOLD = replace(GOOD, faults=Faults(hold="no-such-hold {point} {gate}", query="search"))
""",
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a TARGET"),
        (["mine"], "mine: a target is named as module:NAME"),
        (["nope:X"], "nope: no such module, here or installed"),
        (["nope.py:X"], "nope.py: No such file"),
        (["fifo.py:X"], "fifo.py: not a regular file"),
        (["zero.py:X"], "zero.py: not a regular file"),
        (["huge.py:X"], "huge.py: 8,388,608 bytes are too many: at most 4,194,304"),
        (["./out:X"], "./out: Is a directory"),
        (["hits:X"], "hits: hits: 3: must be text (hits.py:3)"),
        (["posts:FILE"], "posts:FILE: Attach: mine.py: not a socket"),
        (["posts:PROJECT"], "posts:PROJECT: Attach: project: elsewhere: no such directory"),
        (["posts:LAUNCHER"], "posts:LAUNCHER: launcher: command not found: no-such-launcher"),
        (["posts:CRASH"], "posts:CRASH: faults: crash: command not found: no-such-crash"),
        (["posts:HOLD"], "posts:HOLD: faults: hold: command not found: no-such-hold"),
        (["mine:NOPE"], "mine:NOPE: mine has no 'NOPE'"),
        (["mine:NUMBER"], "mine:NUMBER: not a Target, but int"),
        (["mine:Target"], "mine:Target: not a Target, but the class Target"),
        (["raises:X"], "raises: cannot be imported: ZeroDivisionError: division by zero (raise"),
        (["wrong:X"], "wrong: cannot be imported: SyntaxError: invalid syntax (wrong.py, line 1)"),
        (["needs:X"], "needs: cannot be imported: ModuleNotFoundError: No module named 'no_such_l"),
        (["leaves:X"], "leaves: cannot be imported: SystemExit: 0"),
        (["methods:X"], "methods: methods: query: 'search': not of the form"),
        (["posts:MAKING.target"], "posts:MAKING.target: OSError: a bug (posts.py:11)"),
        (["mine:LOST"], "mine:LOST: Spawn: command not found: no-such-daemon"),
        (["mine:WRITER"], "mine:WRITER: writer: command not found: no-such-writer"),
        (["mine:GOOD", "--only", "servin"], "there is no check 'servin' (is it 'serving'?)"),
        (["mine:GOOD", "--promise", "X-1"], "--promise: X-1 is no promise that is known"),
        (["mine:GOOD", "--promise", "SRV-5"], "no check is about 'SRV-5'"),
        (["mine:OWN"], "check 'own': MY-1 is no promise that is known (see --promises)"),
        (["mine:GOOD", "--excuses", "none.toml"], "none.toml: No such file"),
        (["mine:GOOD", "--excuses", "bad.toml"], "bad.toml: not TOML: "),
        (["mine:GOOD", "--excuses", "reasonless.toml"], "reasonless.toml: excuse 1: reason is mis"),
        (["mine:BAD", "--excuses", "expired.toml"], "the excuse of SRV-3 has expired on 2020-01"),
        (["mine:BAD", "--excuses", "unknown.toml"], "the excuse of SRV-99: there is no such"),
        (["mine:GOOD", "--promises", "clash.toml"], "clash.toml: SRV-1 is a promise of the kit"),
        (["mine:GOOD", "--html", "mine.py/x.html"], "mine.py/x.html: cannot be written: "),
        (["mine:GOOD", "--html", "."], ".: cannot be written: Is a directory"),
        (["mine:GOOD", "--excuses", "/dev/zero"], "/dev/zero: not a regular file"),
        (["mine:GOOD", "--excuses", "fifo.py"], "fifo.py: not a regular file"),
        (["mine:GOOD", "--excuses", "huge.py"], "huge.py: 8,388,608 bytes are too many"),
        (["mine:GOOD", "--promises", "/dev/zero"], "/dev/zero: not a regular file"),
        (["mine:GOOD", "--promises", "."], ".: Is a directory"),
        (["mine:GOOD", "--promises", "out"], "out: Is a directory"),
        (["mine:GOOD", "--json", "new/a", "--html", "mine.py/x"], "mine.py/x: cannot be written: "),
        (["mine:GOOD", "--json", "new/a", "--html", "new/../new/a"], "new/../new/a: --json an"),
        (["mine:GOOD", "--json", "new/a", "--only", "x"], "there is no check 'x'"),
        (["mine:GOOD", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["mine:GOOD", "--nope"], "unrecognized arguments: --nope (see cidx-verify --help)"),
        (["mine:GOOD", "--mutants", "mine", "--json", "new/a"], "mine: MUTANTS is missing"),
        (["mine:GOOD", "--mutants", "mine", "--html", "x"], "--html is not for --mutants"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line_and_status_2_before_anything_runs(
    run: Run, project: Path, arguments: list[str], said: str
) -> None:
    for name, text in FILES.items():
        (project / name).write_text(text)
    os.mkfifo(project / "fifo.py")
    (project / "zero.py").symlink_to("/dev/zero")
    with (project / "huge.py").open("wb") as huge:
        huge.truncate(8 << 20)
    (project / "out").mkdir()
    before = set(project.rglob("*"))
    status, out, err = run(*arguments)
    assert (status, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"cidx-verify: {said}")
    left = {path for path in project.rglob("*") if "__pycache__" not in path.parts}
    assert left == before, "what is refused has written nothing"


MUTANTS = """
from contextlib import contextmanager
from dataclasses import replace
from cidx_ref.testing import Mutant, Spawn, check
from mine import GOOD, BAD, crashing, serving
import mine

@contextmanager
def late():
    mine.LATE = True
    yield
    mine.LATE = False

MUTANTS = {
    "does_not_start_again": Mutant("SRV-3", target=BAD),
    "nobody_sees": Mutant("SRV-1", target=GOOD),
    "nobody_looks": Mutant("QRY-1", target=GOOD),
}
KILLED = {"does_not_start_again": MUTANTS["does_not_start_again"]}
"""


SOUND = """
sound = check('crashing', 'SRV-3')(lambda bench: serving.run(bench))
SOUND = Target(Spawn('true'), checks=[serving, sound])
"""


def test_a_mutant_is_killed_by_a_check_of_its_promise_or_survives(run: Run, project: Path) -> None:
    (project / "mine.py").write_text(MODULE + SOUND)
    (project / "zoo.py").write_text(MUTANTS)
    options = ("--json", "out/r.json", "--junit", "out/r.xml")
    status, out, _ = run("mine:SOUND", "--mutants", "zoo", *options)
    assert status == 3
    told = json.loads((project / "out/r.json").read_text("utf-8"))
    assert (told["target"], told["status"], told["killed"]) == ("mine:SOUND", 3, 1)
    assert [(each["name"], each["killed"]) for each in told["mutants"]] == [
        ("does_not_start_again", True),
        ("nobody_sees", False),
        ("nobody_looks", False),
    ]
    suite = ET.parse(project / "out/r.xml").getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (
        "mine:SOUND",
        "3",
        "2",
    )
    failed = [case.find("failure") for case in suite]
    assert [None if each is None else each.get("message") for each in failed] == [
        None,
        "not noticed by serving",
        "no check of its promise could be run",
    ]
    assert [line.split()[:3] for line in out[:3]] == [
        ["does_not_start_again", "SRV-3", "killed"],
        ["nobody_sees", "SRV-1", "SURVIVED"],
        ["nobody_looks", "QRY-1", "SURVIVED"],
    ]
    assert "crashing: it does not <serve>" in out[0]
    assert out[1].endswith("not noticed by serving")
    assert out[2].endswith("no check of its promise could be run")
    assert out[3] == "mutants: 1 of 3 killed"
    (project / "only.py").write_text("from zoo import KILLED as MUTANTS\n")
    assert run("mine:SOUND", "--mutants", "only")[0] == 0


def test_what_is_broken_without_the_mutant_kills_none(run: Run, project: Path) -> None:
    (project / "zoo2.py").write_text(MUTANTS.replace("MUTANTS =", "ALL =") + "MUTANTS = KILLED\n")
    (project / "zoo2.py").write_text(MUTANTS.replace("KILLED = {", "MUTANTS = {"))
    status, out, _ = run("mine:BAD", "--mutants", "zoo2")
    assert status == 3
    assert "says nothing: without it, too" in out[0]


def test_mutants_that_are_interrupted_are_reported_as_far_as_that(run: Run, project: Path) -> None:
    zoo = MUTANTS.replace('Mutant("SRV-1", target=GOOD)', 'Mutant("CACHE-1", target=mine.STOPS)')
    (project / "zoo3.py").write_text(zoo)
    (project / "mine.py").write_text(MODULE + SOUND)
    status, out, _ = run("mine:SOUND", "--mutants", "zoo3", "--json", "r.json")
    assert status == 130
    assert out[1:] == ["interrupted: what is not listed was not come to", "mutants: 1 of 3 killed"]
    told = json.loads((project / "r.json").read_text("utf-8"))
    assert (told["interrupted"], told["killed"], len(told["mutants"])) == (True, 1, 1)


def test_what_a_run_left_that_was_killed_goes_with_the_next(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = home(RUN)
    left.release()
    assert run("mine:GOOD")[0] == 0
    assert not list(tmp_path.glob(f"{RUN}*"))


def test_a_report_that_cannot_be_written_any_more_hides_no_other(run: Run, project: Path) -> None:
    status, out, err = run("mine:GOOD", "--json", "/dev/full", "--junit", "new/r.xml")
    assert status == 2
    assert out[-1] == "All 2 promises that were tried are kept."
    assert err[-1] == "cidx-verify: /dev/full: cannot be written: No space left on device"
    assert (project / "new/r.xml").exists()


def test_a_check_has_no_name_that_one_of_the_kit_has(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "all_checks", lambda: [check("serving", "SRV-1")(print)])
    status, out, (said,) = run("mine:GOOD")
    assert (status, out) == (2, [])
    assert said == "cidx-verify: checks[0]: 'serving': the kit has one of that name"


@pytest.mark.parametrize(
    ("mutants", "said"),
    [
        ({1: Mutant("SRV-1", patch=nullcontext)}, "mutant 1: its name: 1: must be text"),
        ({"a": "b"}, "mutant a: not a Mutant, but str"),
        ({"a": Mutant([])}, r"mutant a: promise: \[\]: must be text"),  # type: ignore[arg-type]
        ({"a": Mutant("SRV-1", target="x")}, "mutant a: target: 'x': not a Target"),  # type: ignore[arg-type]
        ({"a": Mutant("SRV-1", patch="x")}, "mutant a: patch: 'x': must be a function that"),  # type: ignore[arg-type]
        ({"a": Mutant("SRV-1", replace={"cache": 3})}, "mutant a: replace: .*: must map names"),  # type: ignore[dict-item]
        ({"a": Mutant("SRV-1", replace=None)}, "mutant a: replace: None: must map names of Sub"),  # type: ignore[arg-type]
        ({"a": Mutant("SRV-1", replace={"x": print})}, "mutant a: Subjects has no 'x'"),
        ({"a": Mutant("SRV-1")}, "mutant a: it has one of target, patch and replace"),
        ({"a": Mutant("X-1", patch=nullcontext)}, "mutant a: X-1 is no promise"),
        ({"a": Mutant("SRV-1", patch=nullcontext, deep="x")}, "mutant a: deep: 'x': must be True"),  # type: ignore[arg-type]
    ],
)
def test_what_is_wrong_with_a_mutant_is_told_by_its_name(mutants: Any, said: str) -> None:
    module = ModuleType("zoo")
    module.MUTANTS = mutants  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=f"^zoo: {said}"):
        mutants_of(module, {"SRV-1": ""})


def gone_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def gone_terminal() -> int:
    ours, theirs = os.openpty()
    os.close(ours)
    return theirs


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("command", [["mine:GOOD"], ["mine:GOOD", "--mutants", "zoo"]])
@pytest.mark.parametrize(("gone", "status"), [(gone_pipe, 3), (gone_terminal, 2), (full_disk, 2)])
@pytest.mark.parametrize("both", [False, True])
def test_reports_are_written_where_nobody_reads_the_table(
    command: list[str],
    gone: Callable[[], int],
    status: int,
    both: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("zoo.py").write_text(MUTANTS)
    with open(gone(), "w") as out, open(gone(), "w") as err:
        monkeypatch.setattr("sys.stdout", out)
        if both:
            monkeypatch.setattr("sys.stderr", err)
        assert main([*command, "--json", "report.json", "--junit", "report.xml"]) == status
    told = json.loads(Path("report.json").read_text())
    assert len(told.get("mutants", told.get("promises"))) == (3 if "--mutants" in command else 2)
    assert ET.parse("report.xml").getroot()[0]


@pytest.mark.parametrize("command", [["mine:BAD"], ["mine:GOOD", "--mutants", "zoo"]])
def test_where_nothing_is_to_be_written_a_run_ends_with_its_reader(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("zoo.py").write_text(MUTANTS)
    with open(gone_pipe(), "w") as out, open(gone_pipe(), "w") as err:
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        monkeypatch.setattr(verify, "lines", None)  # not come to
        assert main(command) == 3


def test_of_a_report_for_which_there_is_no_room_no_half_stays(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def half(path: Path, text: str, *how: Any, **more: Any) -> int:
        if path.name != "r.json":
            return write(path, text, *how, **more)
        write(path, text[: len(text) // 2], *how, **more)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", half)
    status, _, err = run("mine:GOOD", "--json", "r.json", "--junit", "r.xml")
    assert (status, err[-1]) == (
        2,
        "cidx-verify: r.json: cannot be written: No space left on device",
    )
    assert not (project / "r.json").exists()
    assert (project / "r.xml").exists()


THREADS = """
from threading import Event, Thread
from cidx_ref.testing import Spawn, Target, check

asked, answered, over = Event(), Event(), Event()

def echo():
    asked.wait(5)
    answered.set()
    over.wait(30)

Thread(target=echo, name="echo", daemon=True).start()

@check("answers", "SRV-1", inside=True)
def answers(bench):
    with bench.showing("SRV-1"):
        asked.set()
        assert answered.wait(1), "there is no echo"
        over.set()

TARGET = Target(Spawn("true"), checks=[answers])
"""


def test_a_target_that_starts_threads_is_judged_where_they_run(run: Run) -> None:
    Path("echoes.py").write_text(THREADS)
    status, _, err = run("echoes:TARGET")
    assert (status, len(err)) == (0, 2)
    assert err[0] == (
        "importing the target has started threads (echo), which processes of the checks would "
        "lack: checks run one by one, in this process"
    )
    assert err[1].startswith("[1/1] answers: SRV-1 kept")
