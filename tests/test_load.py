"""Load sessions: what they judge by, that each finds what it is there for, and what they leave.

Locust replaces what blocks in the whole process, so it is only imported in processes of its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import psutil
import pytest
import rpyc
from rpyc.utils.server import ThreadedServer

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.conformance import corpus as plain_words
from cidx_ref.testing.conformance.asking import Answer, Hit
from cidx_ref.testing.figures import percentile
from cidx_ref.testing.load import report
from cidx_ref.testing.load.connection import MeasuredConnection, why_unusable
from cidx_ref.testing.load.corpus import Question, derive_questions, read_questions
from cidx_ref.testing.load.monitor import Reading, growth, slope
from cidx_ref.testing.load.place import project_at
from cidx_ref.testing.load.samples import ALL, Samples
from cidx_ref.testing.load.slo import BASE, VARIABLE, Slo, asked_for, effective, parse_all
from cidx_ref.testing.own.keeper import processes_of

HERE = Path(__file__).parent
LOCUSTFILE = HERE.parent / "loadtests" / "locustfile.py"
TIMEOUT_S = 120.0


def needs_locust(test: Callable[..., None]) -> Callable[..., None]:
    """A session is the same on each interpreter, and seconds long."""
    is_here = importlib.util.find_spec("locust") is not None and LOCUSTFILE.is_file()
    skip = pytest.mark.skipif(not is_here, reason="needs locust (extra: load)")
    marked: Callable[..., None] = pytest.mark.once(skip(test))
    return marked


# What is judged, and by what.


def samples(**rows: Sequence[float]) -> Samples:
    made = Samples()
    for name, values in rows.items():
        for value in values:
            made.add(name, value)
    return made


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (50, 2.0), (75, 3.0), (75.1, 4.0), (95, 4.0), (100, 4.0)]
)
def test_a_percentile_is_one_of_the_values(percent: float, value: float) -> None:
    assert percentile(array("d", [1.0, 2.0, 3.0, 4.0]), percent) == value


def test_values_are_not_put_into_buckets() -> None:
    values = [147.3, 147.9, 148.1]
    row = samples(query=values).rows["query"]
    assert list(row.values) == values
    assert row.statistic("p50", 1.0) == 147.9


def test_what_processes_drain_merges_to_what_one_would_have_measured() -> None:
    one, several = Samples(), [Samples(), Samples()]
    for number in range(1000):
        for target in (one, several[number % 2]):
            failure = "bad" if number % 100 == 0 else ""
            target.add("query", number / 7, failure=failure, size_bytes=number, trips=number % 5)
    leader = Samples()
    for worker in several:
        # As locust sends it, and in more than one report.
        leader.merge(json.loads(json.dumps(worker.drain())))
        leader.merge(worker.drain())
    ours, theirs = leader.rows["query"], one.rows["query"]
    assert sorted(ours.values) == sorted(theirs.values)
    assert (ours.failures, ours.size_bytes, ours.trips) == (
        theirs.failures,
        theirs.size_bytes,
        theirs.trips,
    )


def test_facts_are_handed_over_once() -> None:
    worker, leader = Samples(), Samples()
    worker.facts.add(("edition", "g1", "7"))
    leader.merge(worker.drain())
    assert leader.told("edition") == [("g1", "7")]
    assert worker.drain()["facts"] == []


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("query_fts:p95<20", Slo("query_fts", "p95", "<", 20.0)),
        (" *:failures <= 0 ", Slo("*", "failures", "<=", 0.0)),
        ("(loads a round):max<=1", Slo("(loads a round)", "max", "<=", 1.0)),
        ("query:p99.9<1.5", Slo("query", "p99.9", "<", 1.5)),
        ("*:count>=1e6", Slo("*", "count", ">=", 1000000.0)),
        ("*:count>=1234567", Slo("*", "count", ">=", 1234567.0)),
    ],
)
def test_an_objective_is_read(text: str, slo: Slo) -> None:
    assert Slo.parse(text) == slo
    assert Slo.parse(str(slo)) == slo


@pytest.mark.parametrize(
    "text", ["", "query", "query:p95", "query:p95=20", "query:p101<2", "query:median<2", ":p5<1"]
)
def test_what_is_no_objective_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="query_fts:p95<20"):
        Slo.parse(text)


def test_a_later_layer_replaces_the_limit_of_the_same_statistic() -> None:
    chosen = effective(parse_all("a:p95<20; a:p99<50"), parse_all(["a:p95<5,b:count>1"]))
    assert list(map(str, chosen)) == ["a:p95<5", "a:p99<50", "b:count>1"]


def test_the_command_line_comes_after_the_environment_and_does_not_replace_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "a:p95<5; b:p95<5")
    assert list(map(str, effective(asked_for(["a:p95<9"])))) == ["a:p95<9", "b:p95<5"]


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("query:p95<20", True),
        ("query:p95<19", False),
        ("query:count>=20", True),
        ("query:rps<=10", True),
        ("query:rps>10", False),
        ("*:max<=20", True),
        ("query_fts:p95<20", False),
        ("query_fts:count>=0", False),
    ],
)
def test_an_objective_is_judged_and_no_samples_fail(text: str, ok: bool) -> None:
    verdict = Slo.parse(text).judge(samples(query=range(1, 21)), elapsed_s=2.0)
    assert verdict.ok is ok
    assert (verdict.measured is None) == text.startswith("query_fts")


def test_trips_that_were_not_counted_are_not_few() -> None:
    verdict = Slo.parse("query:trips<=1").judge(samples(query=[1.0]), 1.0)
    assert (verdict.measured, verdict.ok) == (None, False)


def test_a_session_without_an_answer_shows_nothing_but_its_failures() -> None:
    failed = Samples()
    failed.add("query", 0.0, failure="not connected")
    verdicts = {
        text: Slo.parse(text).judge(failed, 1.0).ok
        for text in ("*:trips<=1", "*:rps<=1", "*:max<9", "*:count<=0", "*:failures<=1")
    }
    assert [text for text, ok in verdicts.items() if ok] == ["*:count<=0", "*:failures<=1"]


def test_a_session_without_a_call_fails() -> None:
    only_figures = samples(**{"(connect)": [1.0]})
    assert not all(slo.judge(only_figures, 1.0).ok for slo in BASE)


def test_a_failure_of_a_figure_is_a_failure() -> None:
    made = samples(query=[1.0])
    made.add("(index)", 0.0, failure="wrong")
    row = made.row(ALL)
    assert row is not None
    assert row.failed == 1
    assert len(row.values) == 1


def test_a_slope_comes_with_its_error() -> None:
    line = slope(range(10), [3.0 * x + (-1) ** x for x in range(10)])
    assert line is not None
    assert line.value == pytest.approx(3.0, abs=0.1)
    assert 0 < line.error < 0.2
    assert slope([1.0] * 9, range(9)) is None
    assert slope(range(3), range(3)) is None


def test_what_wanders_and_comes_back_is_no_growth_however_often_it_is_looked_at() -> None:
    """Readings that follow each other are nearly the same: many of them are not surer than few."""
    called_growth = 0
    for seed in range(40):
        rng, off, readings = random.Random(seed), 0.0, []
        for n in range(3600):
            off = 0.98 * off + rng.gauss(0, 10)
            readings.append(Reading(7, 15 * n, 70_000 + off, 15, 20))
        called_growth += growth(readings)["rss_kb"]["surely_above"] > 0
    assert called_growth <= 4


@pytest.mark.parametrize(("kb_per_call", "grows"), [(0.0, False), (5.0, True)])
def test_growth_is_told_from_noise(kb_per_call: float, grows: bool) -> None:
    readings = [
        Reading(7, n * 10, 1000.0 + kb_per_call * n * 10 + 30 * (n % 3), 5, 9) for n in range(60)
    ]
    found = growth([Reading(3, 0, 9.0, 1, 1), *readings])
    assert (found["rss_kb"]["surely_above"] > 200) is grows
    assert found["threads"]["surely_above"] == 0


# What is asked.


def test_questions_of_any_project_are_names_that_stand_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def only_in_here(): both_of_them()")
    (tmp_path / "b.py").write_text("def both_of_them(): pass")
    assert derive_questions(tmp_path) == (Question("only_in_here", "a.py"),)


def test_questions_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text('[["a tree", "shutil.py"]]')
    (question,) = read_questions(path)
    assert question.complaint(Answer([Hit("shutil.py", 1, "")], None)) is None
    assert question.complaint(Answer([], None)) == "'a tree' did not find shutil.py"


@pytest.mark.parametrize("text", ['[["a tree"]]', '{"a": 1}', '[["a", 1]]', "[]", "[", b"\xff\xfe"])
def test_questions_that_cannot_be_read_are_refused_with_the_file(
    tmp_path: Path, text: str | bytes
) -> None:
    path = tmp_path / "questions.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"questions.json: must be JSON, \[\[query, file\], ...\]"):
        read_questions(path)


def test_a_socket_leads_to_its_project_unless_it_is_named() -> None:
    host = "unix:///some/where/.code-indexer/daemon.sock"
    assert project_at(host) == Path("/some/where")
    assert project_at(host, "/else/where") == Path("/else/where")
    assert project_at("tcp://127.0.0.1:1", "/else/where") == Path("/else/where")
    with pytest.raises(ValueError, match="give --project DIR"):
        project_at("tcp://127.0.0.1:1")


def test_the_page_gets_the_table(tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    page.write_text("<html><body><i></i></body></html>")
    made = samples(query=[1.0, 2.0])
    verdicts = [Slo.parse("query:max<2").judge(made, 1.0)]
    found = report.summary(
        Question, made, verdicts, 1.0, cpu={"locust": 0.5}, warnings=["late"], growth={}
    )
    report.append_to_html(page, found)
    text = page.read_text()
    assert text.endswith("</pre></body></html>")
    for expected in ("FAIL  query:max&lt;2", "WARNING: late", "locust 50%", "Question: FAILED"):
        assert expected in text


# Whole sessions.


@dataclass
class Outcome:
    """What a session left."""

    status: int
    output: str
    summary: dict[str, Any]

    def missed(self) -> list[str]:
        return [each["slo"] for each in self.summary["objectives"] if not each["ok"]]


def command(*arguments: str, locustfile: Path = LOCUSTFILE) -> list[str]:
    head = [sys.executable, "-P", "-m", "locust", "-f", str(locustfile), "--headless"]
    return [*head, "--skip-log-setup", "--only-summary", *arguments]


@contextmanager
def temporary_directory(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a directory for temporary files, which must be empty afterwards."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    yield {**os.environ, "TMPDIR": str(directory)}
    assert list(directory.iterdir()) == []


def session(
    tmp_path: Path, *arguments: str, defect: str = "", locustfile: Path = LOCUSTFILE
) -> Outcome:
    """Runs a scenario, on a daemon with a defect if there is one to be found."""
    written = tmp_path / "summary.json"
    more = ["--summary", str(written)]
    if defect:
        more += ["--target", f"load_targets:{defect}"]
    with temporary_directory(tmp_path) as environment:
        done = subprocess.run(
            command(*more, *arguments, locustfile=locustfile),
            env=environment,
            cwd=HERE,  # where targets are found
            timeout=TIMEOUT_S,
            capture_output=True,
            text=True,
            check=False,
        )
    summary = json.loads(written.read_bytes()) if written.is_file() else {}
    return Outcome(done.returncode, done.stdout + done.stderr, summary)


#: The machine that runs the tests may be busy: what is judged is whether answers are right, and not
#: very late.  The scenarios' own objectives are for `tox -e load`.
RELAXED = "query:p95<2000;query_fts:p95<2000;query_hybrid:p95<2000;*:max<20000"


@needs_locust
@pytest.mark.promise("SRV-1", "CACHE-4", "CACHE-5", "RPC-1")
@pytest.mark.parametrize(
    ("scenario", "seconds"),
    [
        *(("Readers", 4), ("ReadersAndWriter", 8), ("Crash", 8), ("Edits", 10)),
        *(
            pytest.param(name, seconds, marks=pytest.mark.deep)
            for name, seconds in (
                *(("OpenLoop", 5), ("ColdHerd", 6), ("Expiry", 16), ("Churn", 6), ("Ramp", 60)),
                *(("Soak", 30), ("SoakIndexing", 40)),
            )
        ),
    ],
)
def test_a_session_on_our_daemon_passes(tmp_path: Path, scenario: str, seconds: int) -> None:
    own = "(index):count>=1" if scenario == "ReadersAndWriter" else ""
    own = "(outage):count>=1;(outage):max<30000" if scenario == "Crash" else own
    visible = "(save to visible):count>=1;(save to visible):p95<=10000"
    own = visible if scenario == "Edits" else own
    # In half a minute, memory has not settled yet.
    own = "(memory kB/1000 calls):max<2000" if "Soak" in scenario else own
    # It asks for nothing but full text, and an objective without samples is missed.
    relaxed = "query_fts:p95<2000;*:max<20000" if scenario == "OpenLoop" else RELAXED
    arguments = ("-u", "5", "-t", str(seconds), "--slo", relaxed, "--slo", own, scenario)
    outcome = session(tmp_path, *arguments)
    assert outcome.status == 0, outcome.output
    assert outcome.summary["passed"]
    assert outcome.summary["rows"]["all calls"]["count"] > 0
    assert 0 < max(outcome.summary["locust_cpu"].values()) < 2


#: By what the defect is known, where anything could be wrong.
_SAYS = {
    "a_change_is_nobodys_business": "is not called stale",
    "fresh_is_a_word": "is called fresh",
    "ceases_to_answer": "no answer when the session ended",
    "mislabels_now_and_then": "has editions",
    "stalls_now_and_then": "(late)",
}


@needs_locust
@pytest.mark.promise("SRV-1", "SRV-3", "SRV-4", "CACHE-1", "CACHE-5", "CACHE-8", "RPC-1", "PERF-4")
@pytest.mark.parametrize(
    ("scenario", "defect", "missed", "arguments"),
    [
        ("Readers", "rlock_as_read_lock", "query_fts:p95<50", ("-t", "5", "-u", "20")),
        ("Readers", "knows_only_the_storys_methods", "*:trips<=1", ("-t", "4")),
        ("ReadersAndWriter", "claims_the_newest_generation", "*:failures<=0", ("-t", "8")),
        ("Readers", "ceases_to_answer", "*:failures<=0", ("-t", "9")),
        ("Crash", "a_name_is_taken_for_a_daemon", "(outage):count>=2", ("-t", "6")),
        ("Edits", "a_change_is_nobodys_business", "*:failures<=0", ("-t", "12")),
        *(
            pytest.param(*case, marks=pytest.mark.deep)
            for case in (
                ("OpenLoop", "stalls_now_and_then", "query_fts:p95<100", ("-t", "8")),
                ("ColdHerd", "loads_for_each_query", "(loads a round):max<=1", ("-t", "6")),
                ("Expiry", "stops_at_once", "*:failures<=0", ("-t", "10")),
                ("Churn", "serves_one_at_a_time", "*:failures<=0", ("-t", "6")),
                ("Ramp", "rlock_as_read_lock", "(knee):max>=10", ()),
                ("Soak", "leaks_for_each_query", "(memory kB/1000 calls):max<50", ("-t", "8")),
                ("SoakIndexing", "mislabels_now_and_then", "*:failures<=0", ("-t", "16")),
                ("Churn", "keeps_connections", "(connections left):max<=0", ("-t", "4")),
                ("ReadersAndWriter", "mislabels_now_and_then", "*:failures<=0", ("-t", "8")),
                ("Readers", "answers_something_else", "*:failures<=0", ("-t", "4")),
                (
                    "ReadersAndWriter",
                    "looks_once_which_index_is_live",
                    "*:failures<=0",
                    ("-t", "8"),
                ),
                ("ColdHerd", "everybody_loads", "(loads a round):max<=1", ("-t", "6")),
                # Only queries that want it fresh have anything indexed then.
                ("Edits", "changes_start_no_run", "(save to visible):p95<=1500", ("-t", "20")),
                (
                    "Edits",
                    "waits_long_until_changes_have_settled",
                    "(save to visible):p95<=1500",
                    ("-t", "15"),
                ),
                ("Edits", "fresh_is_a_word", "*:failures<=0", ("-t", "25")),
                ("Crash", "lock_file_instead_of_flock", "(outage):count>=2", ("-t", "6")),
            )
        ),
    ],
)
def test_each_scenario_fails_on_a_daemon_that_is_broken_in_its_way(
    tmp_path: Path, scenario: str, defect: str, missed: str, arguments: tuple[str, ...]
) -> None:
    outcome = session(tmp_path, "-u", "5", *arguments, scenario, defect=defect)
    assert outcome.status == 3, outcome.output
    assert missed in outcome.missed(), outcome.output
    assert _SAYS.get(defect, "") in outcome.output


@needs_locust
def test_names_of_a_project_are_asked_of_each_method_that_finds_them(
    tmp_path: Path, project: Project, running: Callable[[Project], int]
) -> None:
    running(project)
    host = ("--host", f"unix://{project.socket_path}")
    outcome = session(tmp_path, *host, "-u", "2", "-t", "3", "--slo", RELAXED, "Readers")
    assert outcome.status == 0, outcome.output


@needs_locust
def test_a_method_that_finds_none_of_the_names_is_not_asked_and_that_is_said(
    tmp_path: Path, project: Project
) -> None:
    arguments = ("--source", str(project.root), "-u", "2", "-t", "3", "--slo", RELAXED, "Readers")
    outcome = session(tmp_path, *arguments, defect="understands_nothing")
    assert "query finds none of the project's names: give --questions FILE" in outcome.output
    assert outcome.missed() == ["query:p95<2000"]
    assert outcome.status == 3


@needs_locust
@pytest.mark.promise("SRV-1", "CACHE-4", "RPC-1")
def test_processes_measure_together(tmp_path: Path) -> None:
    port = str(_free_port())
    ports = ("--master-bind-port", port, "--master-port", port)
    arguments = ("--processes", "2", *ports, "-u", "6", "-t", "5", "--slo", RELAXED, "Readers")
    outcome = session(tmp_path, *arguments)
    assert outcome.status == 0, outcome.output
    assert outcome.summary["rows"]["(connect)"]["count"] == 6
    assert len(outcome.summary["locust_cpu"]) == 3  # the leader, and two workers


@needs_locust
def test_a_daemon_that_was_there_is_measured_and_left_alone(
    tmp_path: Path, project: Project, running: Callable[[Project], int]
) -> None:
    pid = running(project)
    host = ("--host", f"unix://{project.socket_path}")
    before = sorted(project.root.rglob("*.py"))
    arguments = ("-u", "2", "-t", "4", "--slo", "query_fts:p95<2000;(index):count>=1")
    questions = tmp_path / "questions.json"
    questions.write_text('[["check password", "auth/login.py"]]')
    outcome = session(
        tmp_path, *host, *arguments, "--questions", str(questions), "ReadersAndWriter"
    )
    assert outcome.status == 0, outcome.output
    (tmp_path / "tmp").rmdir()
    refused = session(tmp_path, *host, *arguments, "Crash")
    assert refused.status == 2
    assert "would harm the daemon" in refused.output
    assert sorted(project.root.rglob("*.py")) == before
    with DaemonClient(project, start=False) as client:
        assert client.ping()["pid"] == pid


MINE = '''
from cidx_ref.testing.load import Question, Scenario, constant, task

LONG = Question("copy a tree patiently", "shutil.py")


class Mixed(Scenario):
    """One user in two asks for what takes a second and a half."""

    slos = ("query_fts:max<1000", "query:min>=1500", "query_fts:count>=5")
    wait_time = constant(0.05)
    taken = 0

    def on_start(self):
        super().on_start()
        Mixed.taken += 1
        self.is_slow = Mixed.taken % 2

    @task
    def search(self):
        if self.is_slow:
            self.ask("query", LONG, catch=lambda answer: None)
        else:
            self.ask("query_fts", self.pick())
'''


@needs_locust
@pytest.mark.promise("RPC-4")
def test_a_scenario_of_twenty_lines_shows_that_no_user_waits_for_another(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(MINE)
    outcome = session(tmp_path, "-u", "2", "-t", "6", locustfile=mine)
    assert outcome.status == 0, outcome.output


#: What is refused: options, and what is said of them.
REFUSED = [
    (("--slo", "query:soon"), "must be like query_fts:p95<20"),
    (("--questions", "/nowhere.json"), "/nowhere.json"),
    (("--summary", "/proc/nowhere/x.json"), "/proc/nowhere"),
    (("--source", "/nowhere"), "/nowhere: no such directory"),
    (("--daemon", "'"), 'daemon: "\'": No closing quotation'),
    (("--daemon", "cidx-nowhere"), "daemon: cidx-nowhere: no such command"),
    (("--host", "unix:///nowhere.sock"), "unix:///nowhere.sock: no daemon answers there"),
    (("--host", "http://127.0.0.1:1"), "must be unix:///path or tcp://host:port"),
    (("--target", "nope:X"), "nope: no such module, here or installed"),
    (("--target", "load_targets"), "load_targets: a target is named as module:NAME"),
    (("--target", "json:dumps"), "json:dumps: not a Target, but function"),
    (("--target", "json:nope"), "json:nope: json has no 'nope'"),
    (("--target", "load_targets:NOBODY"), "unix:///nowhere.sock: no daemon answers there"),
    (("--target", "load_targets:OTHER", "--source", "."), "source: is for our own daemon"),
    (("--target", "load_targets:OTHER", "--daemon", "true"), "give --target or --daemon, and not"),
]

#: Each group of options as one line, and what is said of it as the next.
SAY = """
import json, sys
from cidx_ref.testing.load import options
from cidx_ref.testing.load.scenarios.all import Readers
from locust.argument_parser import get_parser
for line in sys.stdin:
    given = get_parser().parse_args(json.loads(line))
    print(options.why_bad(given, [Readers]).replace("\\n", "<br>"))
"""


@needs_locust
def test_what_cannot_be_used_is_said_in_one_line() -> None:
    asked = "\n".join(json.dumps(given) for given, _ in REFUSED)
    argv = [sys.executable, "-P", "-c", SAY]
    said = subprocess.run(
        argv, input=asked, cwd=HERE, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    lines = said.stdout.splitlines()
    assert [(line, expected) for line, (_, expected) in zip(lines, REFUSED, strict=True)
            if expected not in line] == []  # fmt: skip


@needs_locust
@pytest.mark.parametrize(
    ("option", "value", "scenario", "said"),
    [
        ("--slo", "query:soon", "Readers", "'query:soon': must be like query_fts:p95<20"),
        (
            "--target",
            "load_targets:OTHER",
            "Edits",
            "Edits: not offered: needs a watch of the files (Cap.WATCH)",
        ),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line_before_anything_begins(
    tmp_path: Path, option: str, value: str, scenario: str, said: str
) -> None:
    outcome = session(tmp_path, option, value, scenario)
    assert (outcome.status, outcome.output.count("\n")) == (2, 1)
    assert said in outcome.output, outcome.output


MISTAKEN = """
from cidx_ref.testing.load import Scenario, task


class Mistaken(Scenario):
    @task
    def call_by_position(self):
        self.client.call("query_fts", str(self.project), "a tree")

    @task
    def look_for_what_is_not_there(self):
        self.ask("query", self.pick(), catch=lambda got: got.hints)
"""


@needs_locust
def test_a_mistake_in_a_scenario_is_said_and_fails_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(MISTAKEN)
    outcome = session(tmp_path, "-u", "3", "-t", "3", locustfile=mine)
    assert outcome.status == 3
    for said in ("are given by name", "its check raised AttributeError"):
        assert said in outcome.output, outcome.output


@needs_locust
def test_a_scenario_that_does_nothing_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(MINE.replace("    @task\n", ""))
    outcome = session(tmp_path, locustfile=mine)
    assert (outcome.status, outcome.output) == (2, "locust: Mixed has no @task\n")


@needs_locust
def test_of_two_names_none_is_run(tmp_path: Path) -> None:
    outcome = session(tmp_path, "Readers", "Churn")
    assert outcome.status == 2
    assert "one scenario is run at a time: name one of " in outcome.output


BROKEN = """
import pathlib
import sys

print(sys.argv[1:])
pathlib.Path(sys.argv[3], ".code-indexer/daemon.log").write_text("why it is so")
sys.exit("no such thing as an index")
"""


@needs_locust
def test_why_a_daemon_did_not_start_is_said_with_what_it_wrote(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(BROKEN)
    outcome = session(tmp_path, "--daemon", f"{sys.executable} {mine}", "Readers")
    assert outcome.status == 3
    assert "ended with status 1; it wrote:\n['serve', '--project', " in outcome.output
    assert "no such thing as an index" in outcome.output
    assert ".code-indexer/daemon.log ends:\nwhy it is so\n" in outcome.output
    assert "Traceback" not in outcome.output


# Daemons of other people.


#: What is said of each scenario and a target.
NEEDS = """
import json, sys
sys.path.append(".")
import load_targets
from cidx_ref.testing.load.scenarios import all as scenarios
for target in (load_targets.QUICK, load_targets.NOBODY):
    each = {name: getattr(scenarios, name) for name in scenarios.__all__}
    said = {name: [one.missing(target), one.objectives(target)] for name, one in each.items()}
    print(json.dumps(said))
"""


@needs_locust
def test_what_a_scenario_needs_and_what_it_holds_a_daemon_to_hang_on_what_that_offers() -> None:
    argv = [sys.executable, "-P", "-c", NEEDS]
    said = subprocess.check_output(argv, cwd=HERE, text=True, timeout=TIMEOUT_S)
    quick, nobody = map(json.loads, said.splitlines())
    assert {name: missing for name, (missing, _) in quick.items() if missing} == {
        "Edits": "needs a watch of the files (Cap.WATCH)",
        "SoakIndexing": "needs answers that name their generation, as ours do",
    }
    # It has no hybrid search, and promises speed.
    assert quick["Readers"][1] == ["query_fts:p95<50", "query:p95<100"]
    assert quick["Expiry"][1] == ["(daemons):max>=2"]
    assert quick["Soak"][1] == []
    harmed = {name for name, (missing, _) in nobody.items() if "would harm the daemon" in missing}
    assert harmed == {"Crash", "Edits", "Expiry", "SoakIndexing"}
    assert "(Cap.CLEAR), and a count of loads" in nobody["ColdHerd"][0]
    able = {name for name, (missing, _) in nobody.items() if not missing}
    assert able == {"Churn", "OpenLoop", "Ramp", "Readers", "Soak"}


@contextmanager
def story_daemon(tmp_path: Path, *arguments: str) -> Iterator[str]:
    """The address of a daemon as the story has it, of a small project."""
    root = tmp_path / "theirs"
    plain_words.write(root, 1)
    argv = [sys.executable, "-P", str(HERE / "story_daemon.py"), "serve", "--project", str(root)]
    process = subprocess.Popen([*argv, *arguments])
    path = root / ".code-indexer" / "daemon.sock"
    try:
        _wait_for(lambda: path.exists() and not why_unusable(f"unix://{path}"))
        connection = MeasuredConnection(f"unix://{path}", TIMEOUT_S)
        connection.call("index", str(root))
        connection.close()
        yield f"unix://{path}"
    finally:
        process.kill()
        process.wait(TIMEOUT_S)


@needs_locust
@pytest.mark.parametrize(("defect", "failed"), [("", False), ("elsewhere", True)])
def test_a_daemon_of_the_storys_sample_is_asked_and_judged_by_content(
    tmp_path: Path, defect: str, failed: bool
) -> None:
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps(plain_words.QUESTIONS[:3]))
    options = ("--questions", str(questions), "-u", "2", "-t", "2", "--slo", RELAXED)
    with story_daemon(tmp_path, *[defect] * bool(defect)) as host:
        outcome = session(tmp_path, "--host", host, *options, "Readers")
    rows = outcome.summary["rows"]
    assert outcome.status == (3 if failed else 0), outcome.output
    for mode in ("query", "query_fts", "query_hybrid"):
        assert (rows[mode]["count"] == 0) == failed, outcome.output
    assert ("did not find harbour.py" in outcome.output) == failed, outcome.output


@needs_locust
def test_any_command_that_serves_is_started_indexed_killed_and_started_again(
    tmp_path: Path,
) -> None:
    command = f"{sys.executable} -P {HERE / 'story_daemon.py'} serve --project {{project}}"
    relaxed = "(outage):max<30000;(outage):count>=1"
    options = ("--daemon", command, "-u", "3", "-t", "5", "--slo", relaxed)
    outcome = session(tmp_path, *options, "Crash")
    assert outcome.status == 0, outcome.output


@needs_locust
def test_a_list_of_scenarios_is_run_on_a_target_as_far_as_it_offers_what_they_need(
    tmp_path: Path,
) -> None:
    done = load(tmp_path, "OTHER", "ReadersAndWriter", "Edits", "Expiry")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {each["scenario"]: each for each in _summary(tmp_path)["scenarios"]}
    edits = "not offered: needs a watch of the files (Cap.WATCH)"
    assert found["Edits"]["not_offered"] == edits
    assert re.search(rf"^Edits +{re.escape(edits)}$", done.stdout, re.MULTILINE)
    assert found["Expiry"]["rows"]["(daemons)"]["max"] >= 2
    # By what it offers: no speed is promised, and no hybrid search.
    rows = found["ReadersAndWriter"]["rows"]
    assert rows["(index)"]["count"] >= 2
    assert "query_hybrid" not in rows
    objectives = {each["slo"] for each in found["ReadersAndWriter"]["objectives"]}
    assert objectives == {"*:count>0", "*:failures<=0", "(index):count>=2"}


@needs_locust
def test_a_scenario_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    done = load(tmp_path, "OTHER", "Nope", "Readers")
    assert (done.returncode, done.stderr.split("\n", 1)[0]) == (2, "Unknown User(s): Nope")
    assert "Readers" not in done.stdout


@needs_locust
def test_a_target_is_judged_by_the_content_of_its_answers(tmp_path: Path) -> None:
    done = load(tmp_path, "WRONG", "Readers")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "did not find elsewhere.py" in done.stdout


def load(tmp_path: Path, target: str, *scenarios: str) -> subprocess.CompletedProcess[str]:
    """`python -m cidx_ref.testing.load`, with the scenarios of the package."""
    options = ["--target", f"load_targets:{target}", "--seconds", "3", "--out", str(tmp_path)]
    argv = [sys.executable, "-P", "-m", "cidx_ref.testing.load", *options, *scenarios]
    return subprocess.run(
        [*argv, "--", "-u", "3"],
        cwd=HERE, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def _summary(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "summary.json").read_bytes())
    return found


STOCK = """
import gevent
from cidx_ref.testing.load import RpycUser, constant, task


class Stock(RpycUser):
    wait_time = constant(0.01)

    @task
    def get(self):
        self.client.call("get", catch=lambda got: None if got == {"n": 3} else f"{got}")
        if self.environment.stats.total.num_requests > 3:
            gevent.spawn(self.environment.runner.quit)
"""


@needs_locust
def test_a_stock_service_is_asked_for_a_dict(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(STOCK)

    class Service(rpyc.Service):  # type: ignore[misc]
        def exposed_get(self) -> dict[str, int]:
            return {"n": 3}

    server = ThreadedServer(Service, hostname="127.0.0.1", port=0)
    thread = SYSTEM.thread(server.start, "stock service")
    try:
        host = f"tcp://127.0.0.1:{server.port}"
        argv = command("--host", host, "-u", "1", "-t", "60", "--json", locustfile=mine)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    finally:
        server.close()
        thread.join(TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = (each for each in json.loads(done.stdout) if each["name"] == "get")
    assert (row["num_requests"] > 0, row["num_failures"]) == (True, 0)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("from cidx_ref.testing.load import Scenario", "pip install 'cidx-ref-testing[load]'"),
        ("from cidx_ref.testing.load import RpycUser", "pip install 'cidx-ref-testing[load]'"),
        (
            "from cidx_ref.testing.load.command import main; raise SystemExit(main(['Readers']))",
            "pip install 'cidx-ref-testing[load]'",
        ),
    ],
)
def test_without_locust_the_extra_is_named(code: str, said: str) -> None:
    absent = "import sys; sys.modules['locust'] = None; "
    done = subprocess.run(
        [sys.executable, "-P", "-c", absent + code], capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)
    assert said in done.stderr.splitlines()[-1]


@needs_locust
def test_without_our_daemon_one_line_says_what_to_install_or_to_give() -> None:
    absent = "import sys; sys.modules['cidx_ref.client'] = None\n" + SAY
    done = subprocess.run(
        [sys.executable, "-P", "-c", absent],
        input="[]", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == (
        "our own daemon is not installed: pip install cidx-ref, or name another one "
        "with --target MODULE:TARGET\n"
    )


@needs_locust
def test_without_a_name_the_first_scenario_is_run_for_so_long_from_when_its_daemon_answers(
    tmp_path: Path,
) -> None:
    """Which takes longer than the session."""
    outcome = session(tmp_path, "-u", "2", "-t", "1", "--slo", RELAXED)
    assert outcome.summary["elapsed_s"] >= 1, outcome.output
    assert "no scenario is named: only " in outcome.output
    assert outcome.summary["scenario"] in outcome.output


@needs_locust
def test_a_climb_ends_when_its_time_is_over(tmp_path: Path) -> None:
    outcome = session(tmp_path, "-t", "5", "Ramp")
    assert outcome.summary["scenario"] == "Ramp"
    assert 0 < outcome.summary["elapsed_s"] < 8


@needs_locust
def test_a_worker_is_told_which_scenario_is_run_and_what_is_asked(tmp_path: Path) -> None:
    port = str(_free_port())
    argv = command("--worker", "--master-port", port)
    worker = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    options = ("--master", "--expect-workers", "1", "--master-bind-port", port)
    arguments = ("-u", "3", "-t", "5", "--slo", "query_fts:p95<2000", "OpenLoop")
    outcome = session(tmp_path, *options, *arguments)
    _, said = worker.communicate(timeout=TIMEOUT_S)
    assert (worker.returncode, said) == (0, "")
    assert outcome.status == 0, outcome.output
    assert outcome.summary["rows"]["query_fts"]["count"] > 0


SLOW_TO_LEAVE = """
import os
from pathlib import Path

import gevent
from cidx_ref.testing.load import Scenario, constant, task


class SlowToLeave(Scenario):
    wait_time = constant(0.1)

    def on_start(self):
        super().on_start()
        self.answers = 0

    def on_stop(self):
        super().on_stop()
        gevent.sleep(1.5)
        own = Path(__file__).with_name(f"{os.getpid()}-{id(self)}.answers")
        own.write_text(str(self.answers))

    @task
    def search(self):
        self.ask("query_fts", self.pick())
        self.answers += 1
"""


@needs_locust
def test_what_slow_workers_measured_last_is_judged_too(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(SLOW_TO_LEAVE)
    port = str(_free_port())
    ports = ("--master-bind-port", port, "--master-port", port)
    arguments = ("--processes", "2", *ports, "-u", "4", "-t", "4")
    outcome = session(tmp_path, *arguments, locustfile=mine)
    assert outcome.status == 0, outcome.output
    answers = [int(path.read_text()) for path in tmp_path.glob("*.answers")]
    assert len(answers) == 4
    assert outcome.summary["rows"]["query_fts"]["count"] == sum(answers)


@contextmanager
def two_workers(tmp_path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A session of `Readers`, of whose answers there are some."""
    port = str(_free_port())
    ports = ("--master-bind-port", port, "--master-port", port)
    argv = command("--processes", "2", *ports, *arguments, "--slo", RELAXED, "Readers")
    with temporary_directory(tmp_path) as environment:
        process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        directory = Path(environment["TMPDIR"])
        found = _wait_for(lambda: list(directory.glob("*/source/.code-indexer/daemon.sock")))
        with DaemonClient(Project.at(found[0].parent.parent), start=False) as client:
            _wait_for(lambda: client.metrics()["cache"]["hit"] > 100)
        yield process


@needs_locust
def test_a_ctrl_c_loses_nothing_of_what_workers_measured(tmp_path: Path) -> None:
    with two_workers(tmp_path, "-u", "4", "-t", "100") as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        said, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, "(workers)" in said) == (0, False), said


@needs_locust
@pytest.mark.deep
def test_a_worker_that_dies_fails_the_session(tmp_path: Path) -> None:
    with two_workers(tmp_path, "-u", "8", "-t", "12") as process:
        workers = [
            child
            for child in psutil.Process(process.pid).children()
            if "cidx_ref.testing.own.keeper" not in child.cmdline()
        ]
        workers[0].kill()
        said, _ = process.communicate(timeout=TIMEOUT_S)
    assert (len(workers), process.returncode) == (2, 3), said
    assert "did not hand over its last samples" in said


# In the web UI.


class Page:
    """The web UI of a session, as a browser asks it."""

    def __init__(self, port: int, directory: Path) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._directory = directory

    def get(self, path: str) -> str:
        with urlopen(f"{self._url}/{path}", timeout=TIMEOUT_S) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **form: Any) -> Any:
        return self.send(path, urlencode(form, doseq=True).encode(), {})

    def send(self, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        request = Request(f"{self._url}/{path}", body, headers)
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)

    def start(self, *scenarios: str, host: str = "", **more: str) -> str:
        """Empty, or why it was refused."""
        form = {"user_classes": scenarios, "user_count": 2, "spawn_rate": 2, "host": host, **more}
        answer = self.post("swarm", **form)
        return "" if answer["success"] else str(answer["message"])

    def state(self) -> dict[str, Any]:
        """What is on the page."""
        found: dict[str, Any] = json.loads(self.get("stats/requests"))
        return found

    def wait_until(self, state: str) -> dict[str, Any]:
        """What is on the page when the session is in that state."""
        _wait_for(lambda: self.state()["state"] == state)
        return self.state()

    def own_daemons(self) -> list[Path]:
        return list(self._directory.iterdir())


@contextmanager
def page(tmp_path: Path) -> Iterator[Page]:
    port = _free_port()
    with temporary_directory(tmp_path) as environment:
        argv = [part for part in command("--web-port", str(port)) if part != "--headless"]
        log = tmp_path / "log"
        with log.open("w") as said:
            process = subprocess.Popen(argv, env=environment, stdout=said, stderr=said)
        ours = Page(port, Path(environment["TMPDIR"]))
        try:
            _wait_for(lambda: _listens(port))
            yield ours
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT_S)
            _wait_for(lambda: not ours.own_daemons())
    assert "Traceback" not in log.read_text()


@needs_locust
def test_the_web_ui_asks_the_host_that_is_typed_and_else_a_daemon_of_its_own(
    tmp_path: Path, project: Project, running: Callable[[Project], int]
) -> None:
    running(project)
    host = f"unix://{project.socket_path}"
    with page(tmp_path) as ui:
        assert "no daemon answers there" in ui.start("OpenLoop", host=f"{host}er")
        assert "would harm the daemon" in ui.start("Crash", host=host)
        assert ui.start("OpenLoop", host=host) == ""
        ui.wait_until("running")
        assert ui.own_daemons() == []
        ui.post("stop")
        ui.wait_until("stopped")
        assert ui.start("OpenLoop") == ""
        ui.wait_until("running")
        (own,) = ui.own_daemons()
        ui.post("stop")
        ui.wait_until("stopped")
        # As locust has left it in the field.
        assert ui.start("OpenLoop", host=f"unix://{own}/source/.code-indexer/daemon.sock") == ""
        ui.wait_until("running")
        assert len(ui.own_daemons()) == 1
        assert ui.own_daemons() != [own]


@needs_locust
def test_the_web_ui_runs_one_scenario_at_a_time(tmp_path: Path) -> None:
    with page(tmp_path) as ui:
        assert "choose one scenario" in ui.start()
        assert "choose one scenario" in ui.start("Readers", "Churn")
        assert "there is no scenario Reader" in ui.start("Reader")
        assert ui.start("Readers") == ""
        assert "is beginning" in ui.start("Readers")
        ui.wait_until("running")
        assert "stop the session" in ui.start("OpenLoop")
        # Locust's page edits with all of them ticked.
        edit = {
            "user_classes": ("OpenLoop", "Readers"),
            "user_count": 3,
            "spawn_rate": 2,
            "host": "",
        }
        assert ui.post("swarm", **edit)["host"].startswith("unix://")
        _wait_for(lambda: ui.state()["user_count"] == 3)
        assert list(json.loads(ui.get("tasks"))["per_class"]) == ["Readers"]


@needs_locust
def test_the_web_ui_keeps_a_session_to_the_host_it_began_with(
    tmp_path: Path, project: Project, running: Callable[[Project], int]
) -> None:
    pid = running(project)
    with page(tmp_path) as ui:
        assert ui.start("Crash") == ""
        ui.wait_until("running")
        # Or that daemon would be killed next.
        refused = ui.start("Crash", host=f"unix://{project.socket_path}", user_count="3")
        assert "stop the session before you choose another host" in refused
        assert ui.start("Crash", user_count="3") == ""
        _wait_for(lambda: _verdict(ui.state())["(outage):count>=2"][1] == "so far")
    with DaemonClient(project, start=False) as client:
        assert client.ping()["pid"] == pid


@needs_locust
def test_the_web_ui_stops_a_session_that_is_beginning(tmp_path: Path) -> None:
    with page(tmp_path) as ui:
        for _ in range(2):  # locust is in another state the second time
            assert ui.start("Readers") == ""
            _wait_for(ui.own_daemons)
            ui.post("stop")
            _wait_for(lambda: not ui.own_daemons())
            _wait_for(lambda: "is beginning" not in ui.start("Readers", "Churn"))
            assert ui.start("Readers") == ""
            ui.wait_until("running")
            ui.post("stop")
            ui.wait_until("stopped")
            _wait_for(lambda: not ui.own_daemons())


@needs_locust
def test_the_web_ui_does_not_listen_to_pages_of_other_sites(tmp_path: Path) -> None:
    elsewhere = ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"})
    asked = (("swarm", b"user_classes=Crash"), ("user", b"{}"), ("stop", b""))
    with page(tmp_path) as ui:
        for headers in elsewhere:
            for path, body in (*asked, ("stats/requests", None)):
                with pytest.raises(HTTPError, match="403"):
                    ui.send(path, body, headers)


@needs_locust
def test_the_web_ui_takes_no_file_to_write_from_a_form(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    with page(tmp_path) as ui:
        assert ui.start("OpenLoop", html_file=str(precious), summary=str(precious)) == ""
        ui.wait_until("running")
    assert precious.read_text() == "precious"


@needs_locust
def test_the_web_ui_shows_the_verdict(tmp_path: Path) -> None:
    with page(tmp_path) as ui:
        assert "what they do costs nobody else anything" in ui.get("scenarios")
        # What is for the command line only is not taken from a form, which any page can send.
        assert ui.start("Ramp", run_time="5", daemon="/bin/false", slo="query:soon") == ""
        _wait_for(lambda: _verdict(ui.state()).get("*:count>0", ("", ""))[1] == "so far")
        _wait_for(lambda: ui.state()["user_count"] > 2)  # its own shape
        ui.wait_until("stopped")
        _wait_for(lambda: _verdict(ui.state())["*:failures<=0"] == ("0", "yes"))
        assert "Ramp: " in ui.get("stats/report")


@needs_locust
def test_the_web_ui_does_not_begin_a_climb_anew_when_it_is_edited(tmp_path: Path) -> None:
    seen: list[int] = []

    def users() -> int:
        seen.append(ui.state()["user_count"])
        return seen[-1]

    with page(tmp_path) as ui:
        assert ui.start("Ramp") == ""
        _wait_for(lambda: users() >= 10)
        reached = users()
        assert ui.start("Ramp") == ""
        _wait_for(lambda: users() > reached)
    assert seen == sorted(seen)


def _verdict(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    tables = {table["key"]: table["data"] for table in found["extended_stats"]}
    return {row["objective"]: (row["measured"], row["met"]) for row in tables["verdict"]}


@needs_locust
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_session_that_is_ended_by_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    with temporary_directory(tmp_path) as environment:
        directory = Path(environment["TMPDIR"])
        process = subprocess.Popen(
            command("-u", "3", "-t", "100", "Crash"), env=environment, stdout=subprocess.DEVNULL
        )
        _wait_for(lambda: list(directory.glob("*/source/.code-indexer/daemon.sock")))
        process.send_signal(number)
        process.wait(TIMEOUT_S)
        (root,) = [path / "source" for path in directory.iterdir()] or [directory]
        _wait_for(lambda: not list(directory.iterdir()))
        assert processes_of(root) == []


@needs_locust
def test_nothing_is_left_of_a_targets_daemon_when_its_session_is_killed(tmp_path: Path) -> None:
    argv = command("-u", "1", "-t", "100", "--target", "load_targets:OTHER", "Readers")
    process = subprocess.Popen(argv, cwd=HERE, stdout=subprocess.DEVNULL)

    def daemons() -> list[psutil.Process]:
        found = []
        for each in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):  # gone meanwhile
                if str(HERE / "kit_daemons.py") in each.cmdline():
                    found.append(each)
        return found

    try:
        (daemon,) = _wait_for(daemons)
        root = Path(daemon.cmdline()[2])
        assert root.is_dir()
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
    _wait_for(lambda: not daemon.is_running() and not root.parent.exists())


IN_DESTRUCTORS = """
import time

from cidx_ref.testing.load import Scenario, constant, task


class Heavy:
    def __del__(self):
        until = time.perf_counter() + 0.3
        while time.perf_counter() < until:
            pass


class Busy(Scenario):
    wait_time = constant(0.01)

    @task
    def search(self):
        self.ask("query_fts", self.pick())
        Heavy()
"""


@needs_locust
def test_a_ctrl_c_is_not_lost_wherever_it_comes(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(IN_DESTRUCTORS)
    with temporary_directory(tmp_path) as environment:
        argv = command("-u", "1", "-t", "60", locustfile=mine)
        process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
        directory = Path(environment["TMPDIR"])
        found = _wait_for(lambda: list(directory.glob("*/source/.code-indexer/daemon.sock")))
        with DaemonClient(Project.at(found[0].parent.parent), start=False) as client:
            _wait_for(lambda: client.metrics()["cache"]["hit"] > 3)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=TIMEOUT_S)
    (seconds,) = re.findall(r"^Busy, ([0-9.]+) s", said, re.MULTILINE)
    assert float(seconds) < 30


def _wait_for(condition: Callable[[], Any]) -> Any:
    deadline = SYSTEM.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert SYSTEM.monotonic() < deadline
        SYSTEM.sleep(0.05)
    return found


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
