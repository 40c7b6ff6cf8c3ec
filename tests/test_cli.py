"""The command line, as whoever types it or calls it from a program meets it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from segments import segment

from cidx_ref import __version__, commands
from cidx_ref.cli import main
from cidx_ref.config import Config
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.project import Project
from cidx_ref.results import Answer
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import is_answered
from cidx_ref.terminal import run_summary
from cidx_ref.testing.own.fixtures import MakeProject, build, end_daemon, git, served

COMMAND = [sys.executable, "-P", "-m", "cidx_ref"]
COMMANDS = ("query", "index", "start", "stop", "serve", "status", "health", "metrics", "diagnose",
            "clear-cache", "ping", "init")  # fmt: skip
#: What a terminal takes for a command, of which there must be none in a pipe.
ESCAPE = "\x1b"


def _environment(**extra: str) -> dict[str, str]:
    """Ours, but buffered as a user's is, with nothing that decides about colors."""
    mine = {k: v for k, v in os.environ.items()
            if k not in ("PYTHONUNBUFFERED", "NO_COLOR", "TERM", "COLUMNS")}  # fmt: skip
    return {**mine, "TERM": "xterm", **extra}


def run(
    project: Project | None, *arguments: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    where = ("--project", str(project.root)) if project is not None else ()
    name, *rest = arguments or ("",)
    command = [*COMMAND, name, *where, *rest] if name else COMMAND
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    settings |= {"text": True, "timeout": 60, "env": _environment(), **options}
    return subprocess.run(command, check=False, **settings)


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one object on stdout, and nothing else."""
    assert done.stdout.count("\n") == 1, done
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def is_one_line(text: str) -> bool:
    return text.startswith("cidx-ref") and text.count("\n") == 1 and text.endswith("\n")


@pytest.fixture
def fresh(make_project: MakeProject) -> Iterator[Project]:
    """The sample project in git, never indexed; a daemon that comes to it is ended."""
    project = make_project()
    git(project.root, "init", "-q")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "all")
    yield project
    end_daemon(project)


@pytest.mark.promise("SRV-1", "SRV-2")
def test_a_first_query_builds_the_index_and_starts_the_daemon(fresh: Project) -> None:
    found = run(fresh, "query", "retry when the peer disconnects", "--limit", "2")
    assert found.returncode == 0
    assert found.stdout.startswith("net/retry.py:")
    assert "def retry_on_disconnect(call, attempts=3):" in found.stdout
    assert ESCAPE not in found.stdout + found.stderr
    assert "indexing 4/4 100%" in found.stderr, "progress is told on stderr"
    assert is_answered(fresh.socket_path)
    status = ("git", "status", "--porcelain", "--untracked-files=all")
    changed = subprocess.run(status, cwd=fresh.root, capture_output=True, text=True, check=True)
    assert changed.stdout == "", "the directory ignores itself"

    again = run(None, "query", "parse headers", "--json", cwd=fresh.root / "auth")
    answer = told(again)
    assert (again.returncode, again.stderr) == (0, "")
    assert set(answer) >= {
        "results",
        "mode",
        "generation",
        "took_ms",
        "semantic_count",
        "fts_count",
    }
    for hit in answer["results"]:
        assert set(hit) >= {"path", "line_start", "line_end", "language", "score", "snippet"}
        assert all(hit["snippet"][start:end] for start, end in hit["marks"])
    assert answer["results"][0]["path"] == "web/app.js"

    relaxed = run(fresh, "query", 'parse "no such headers"')
    assert relaxed.stdout.startswith("web/app.js")
    note = 'no hit has "no such headers" as written: its words were looked for'
    assert relaxed.stderr == f"cidx-ref: {note}\n"
    relaxed = run(fresh, "query", 'parse "no such headers"', "--json")
    assert (told(relaxed)["relaxed"], relaxed.stderr) == (["no such headers"], "")
    assert answer["relaxed"] == []
    assert "\x1b[" not in run(fresh, "query", "parse").stdout
    assert "\x1b[1;31mparse\x1b[0m" in run(fresh, "query", "parse", "--color=always").stdout
    meant = run(fresh, "query", "parseHTTPHeadrs")
    note = "nothing indexed has the name 'parseHTTPHeadrs': 'parseHTTPHeaders' was looked for"
    assert meant.stdout.startswith("web/app.js:1")
    assert meant.stderr == f"cidx-ref: {note}\n"
    missing = run(fresh, "query", "parse_retry_headers")
    assert missing.stdout
    note = "nothing indexed has the name 'parse_retry_headers': what is like it was looked for"
    assert missing.stderr == f"cidx-ref: {note}\n"

    nothing = run(fresh, "query", "zyzzyva")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (1, "", "no match\n")
    nothing = run(fresh, "query", "zyzzyva", "--json")
    assert (nothing.returncode, told(nothing)["results"], nothing.stderr) == (1, [], "")


@pytest.mark.promise("SRV-2", "OBS-1")
def test_every_command_does_what_its_line_says(fresh: Project) -> None:
    def text(*arguments: str, status: int = 0) -> str:
        done = run(fresh, *arguments)
        assert (done.returncode, done.stderr) == (status, ""), done
        assert ESCAPE not in done.stdout
        return done.stdout

    def data(*arguments: str) -> dict[str, Any]:
        done = run(fresh, *arguments, "--json")
        assert done.returncode == 0, done
        return told(done)

    places = {
        "address": str(fresh.socket_path),
        "index_directory": str(fresh.root / ".code-indexer"),
        "log": str(fresh.log_path),
    }
    said = "".join(f"{key}: {place}\n" for key, place in places.items())
    none = "this project has no index yet: run `cidx-ref index`"
    assert text("status") == f"running: no\n{said}index_problem: {none}\n"
    nowhere = {"running": False, "starting_or_stopping": False, "source": None, **places}
    assert data("status").items() >= {**nowhere, "index_problem": none, "model": None}.items()
    assert text("stop") == "not running\n"
    assert data("stop") == {"status": "not running"}
    assert data("clear-cache") == {"status": "not running"}
    for asks in ("ping", "health", "metrics", "diagnose"):
        done = run(fresh, asks)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"cidx-ref: no daemon is running for {fresh.root}\n"
    assert not fresh.directory.exists(), "asking about a daemon starts none"

    assert data("start")["status"] == "serving"
    for again in ("start", "serve"):
        assert text(again) == "already running\n"
        assert data(again)["status"] == "already running"

    status = data("status")
    assert (status["running"], status["cache_empty"], status["generation"]) == (True, True, None)
    assert status["version"] == __version__
    assert status["project"] == str(fresh.root)
    report = data("index")
    assert (report["status"], report["files"], report["changed"]) == ("completed", 4, True)
    assert re.match(r"up to date: 4 files, \d+ chunks in [\d.]+ s", text_of(run(fresh, "index")))
    assert text_of(run(fresh, "index", "--full")).startswith("indexed: 4 files")
    text("query", "retry")
    status = data("status")
    assert (status["files"], status["access_count"], status["ttl_minutes"]) == (4, 1, 10)
    assert status["semantic_cached"] is status["fts_cached"] is status["fts_available"] is True
    assert f"pid: {status['pid']}\n" in text("status")
    assert data("ping")["pid"] == status["pid"]
    assert data("health")["status"] == "healthy"
    assert data("metrics")["cache"]["load"] == 1
    assert data("diagnose")["index_files"]["matches_manifest"] is True
    assert "matches_manifest: true" in text("diagnose")
    assert "cache cleared" in text("clear-cache")
    assert data("status")["cache_empty"] is True
    assert text("stop") == "stopped\n"
    assert not is_answered(fresh.socket_path)
    assert data("stop") == {"status": "not running"}


def text_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.once
@pytest.mark.promise("SRV-4")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_runs_in_the_foreground_until_it_is_told_to_end(
    project: Project, number: signal.Signals
) -> None:
    # Who runs the tests may ignore it (`nohup`), and then so would the daemon.
    heard = ["env", f"--default-signal={number.name.removeprefix('SIG')}"]
    command = [*heard, *COMMAND, "serve", "--project", str(project.root), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    ) as serving:
        assert serving.stdout is not None
        assert json.loads(serving.stdout.readline()) == {"status": "serving"}
        assert text_of(run(project, "query", "retry"))
        serving.send_signal(number)
        rest, errors = serving.communicate(timeout=30)
    assert (serving.returncode, rest, errors) == (0, "", "")
    assert not project.socket_path.exists()


@pytest.mark.promise("CFG-1")
def test_init_writes_the_configuration_and_refuses_nonsense(make_project: MakeProject) -> None:
    project = make_project({})
    assert text_of(run(project, "init")) == f"wrote {project.config_path}\n"
    done = run(project, "init", "--ttl-minutes", "2.5", "--no-auto-shutdown", "--json")
    assert told(done) == {"config": str(project.config_path)}
    config = Config.load(project.config_path)
    assert (config.ttl_minutes, config.auto_shutdown_on_idle) == (2.5, False)
    before = project.config_path.read_bytes()
    for value in ("0", "-1", "nan", "inf"):
        done = run(project, "init", f"--ttl-minutes={value}", "--json")
        assert (done.returncode, told(done)["error"]["kind"]) == (2, "bad_config")
        assert is_one_line(done.stderr)
        assert f"{project.config_path}: daemon.ttl_minutes: " in done.stderr
    assert project.config_path.read_bytes() == before
    blocked = make_project({".code-indexer": "a file"}, name="blocked")
    done = run(blocked, "init")
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_line(done.stderr)


@pytest.mark.promise("QRY-2")
def test_a_path_may_be_given_as_the_shell_completes_it(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Patterns begin at the project's root; what begins with a dot, where one is."""
    monkeypatch.chdir(project.root / "net")
    Config.init(project, enabled=False)
    root = str(project.root)
    for glob, found in (
        ("./retry.py", True), ("./", True), ("../net", True), (".", True), ("..", True),
        (f"{root}/net/retry.py", True), (f"{root}/net/", True), (root, True), ("net/", True),
        ("./auth.py", False), ("../web", False), (f"{root}/web", False),
    ):  # fmt: skip
        status = main(["query", "retry on disconnect", "--project", root, "--path", glob])
        said = capsys.readouterr().out
        assert (status == 0) is ("net/retry.py" in said) is found, glob
    main(["query", "retry", "--project", root, "--path", "nowhere"])
    assert capsys.readouterr().err.splitlines() == [
        "no match in what the filters let through",
        "whether files have changed since is not known: --fresh looks",
        "cidx-ref: no file matches --path 'nowhere'",
    ]


@pytest.mark.promise("QRY-2", "QRY-5")
def test_a_filter_is_taken_as_it_was_typed_and_one_about_nothing_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root / "net")
    Config.init(project, enabled=False)

    def said(*arguments: str) -> tuple[int, str, str]:
        status = main(["query", "retry on disconnect", *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    for typed in ("retry.{py,js}", "./retry.py:3", "~/project/net", "{web,net}/"):
        monkeypatch.setenv("HOME", str(project.root.parent))
        status, out, err = said("--path", typed)
        assert (status, err) == (0, ""), typed
        assert "net/retry.py" in out
    status, out, err = said("--exclude-path", "./retry.py", "--limit", "100")
    assert "net/retry.py" not in out
    # What excludes nothing is said, though something is found; and it is called as it was typed.
    status, out, err = said(
        "--exclude-path", "./retri.py", "--language", "cobol", "--language", "py"
    )
    assert status == 0
    assert err.splitlines() == [
        "cidx-ref: no file matches --language 'cobol'",
        "cidx-ref: no file matches --exclude-path './retri.py' (did you mean 'net/retry.py'?)",
    ]
    status, out, err = said("--exclude-path", "./retri.py", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["unmatched"] == {"exclude_paths": {"/net/retri.py": "net/retry.py"}}
    for option in ("--path", "--exclude-path"):
        status, out, err = said(option, "../../elsewhere")
        assert (status, out) == (2, "")
        expected = f"cidx-ref: {option}: ../../elsewhere: not in the project {project.root}\n"
        assert err == expected


# What can go wrong, each told apart.


def _refused(done: subprocess.CompletedProcess[str], kind: str) -> str:
    assert done.returncode == 2, done
    error = told(done)["error"]
    assert error["kind"] == kind
    assert is_one_line(done.stderr), done.stderr
    assert error["message"] in done.stderr
    return str(error["message"])


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("stauts", "invalid choice: 'stauts' (did you mean status?) (see cidx-ref --help)"),
        ("frobnicate", "invalid choice: 'frobnicate' (choose from 'query', "),
        (
            "query x --mdoe fts",
            "--mdoe fts (did you mean --mode?) (see cidx-ref query --help)",
        ),
        ("query x -l 5", "unrecognized arguments: -l 5 (did you mean --limit or --language?)"),
        ("query x -m fts", "-m fts (did you mean --mode?) (see cidx-ref query --help)"),
        ("query x --mode sematic", "(did you mean semantic?) (see cidx-ref query --help)"),
        ("query x --mode zzz", "(choose from 'hybrid', 'semantic', 'fts', 'literal', 'regex')"),
        ("index -q now", "unrecognized arguments: -q now (see cidx-ref index --help)"),
    ],
)
def test_what_is_mistyped_is_named_with_what_may_have_been_meant(
    typed: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed.split()) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert is_one_line(complaint)


@pytest.mark.promise("TRUST-1")
def test_a_query_that_may_not_build_leaves_nothing_where_nothing_is(tmp_path: Path) -> None:
    bare = Project.at(tmp_path)
    _refused(run(bare, "query", "retry", "--no-build", "--json"), "no_index")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.promise("TRUST-1")
def test_a_home_is_indexed_only_by_name_and_what_is_no_repository_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "notes").mkdir(parents=True)
    (home / "notes" / "a.txt").write_text("retry\n")
    monkeypatch.setenv("HOME", str(home))

    def ask(where: Path, *named: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "query", "retry", "--json", *named]
        return subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)

    for where in (home, Path("/")):
        assert f"--project {where}" in _refused(ask(where), "bad_argument")
    assert [each.name for each in home.iterdir()] == ["notes"]
    notes = Project.at(home / "notes")
    try:
        done = ask(home / "notes")
        assert done.returncode == 0, done
        assert done.stderr.startswith(f"cidx-ref: no repository above: all below {notes.root}")
        assert "no repository" not in ask(home / "notes").stderr
    finally:
        end_daemon(notes)


@pytest.mark.promise("RPC-2", "CACHE-2", "WRITE-1")
def test_what_went_wrong_has_a_kind_a_status_and_one_line(fresh: Project) -> None:
    Config.init(fresh, max_retries=0, auto_shutdown_on_idle=False)
    with served(fresh) as service:
        _refused(run(fresh, "query", "retry", "--no-build", "--json"), "no_index")
        build(fresh)
        for arguments, name in (
            (("--limit", "0"), "--limit: 0"),
            (("--limit", "1001"), "limit: 1001"),
            (("--language", "klingon"), "klingon"),
            (("--path", ""), "--path: ''"),
            (("--path", "../elsewhere"), "--path: "),
            (("--exclude-path", "[z"), "--exclude-path: '[z'"),
        ):
            message = _refused(run(fresh, "query", "retry", *arguments, "--json"), "bad_argument")
            assert name in message
        _refused(run(fresh, "index", "--wait", "nan", "--json"), "bad_argument")

        writing = os.open(fresh.generations, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(writing, fcntl.LOCK_EX)
        _refused(run(fresh, "index", "--wait", "0", "--json"), "busy")
        os.close(writing)

        texts = segment(fresh.generations / "current") / "chunks.bin"
        texts.write_bytes(b"x" + texts.read_bytes()[1:])
        message = _refused(run(fresh, "query", "retry", "--json"), "index_unusable")
        assert "cidx-ref index" in message, "and it says what to do"
        assert str(fresh.root) not in message
        service.gate.close()
        _refused(run(fresh, "query", "retry", "--json"), "shutting_down")
    _refused(run(fresh, "ping", "--json"), "unavailable")
    fresh.config_path.write_text('{"daemon": {"max_retries": "many"}}')
    assert "'many'" in _refused(run(fresh, "query", "retry", "--json"), "bad_config")
    assert "'many'" in _refused(run(fresh, "start", "--json"), "bad_config")
    assert "'many'" in _refused(run(fresh, "serve", "--json"), "bad_config")
    fresh.config_path.write_text('{"daemon": {"enabled": false}}')
    for starts in ("start", "serve"):
        assert "enabled" in _refused(run(fresh, starts, "--json"), "unavailable")
    lost = Project(fresh.root / "no such directory")
    _refused(run(lost, "query", "retry", "--json"), "bad_argument")


@pytest.mark.promise("QRY-3", "OBS-1")
def test_an_answer_with_half_an_engine_says_which_half(project: Project) -> None:
    vectors = segment(project.generations / "current") / "vectors.f32"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    with served(project):
        done = run(project, "query", "retry")
        assert (done.returncode, done.stderr) == (0, "")
        assert "(without semantic: " in done.stdout
        assert list(told(run(project, "query", "retry", "--json"))["unavailable"]) == ["semantic"]
        done = run(project, "query", "zyzzyva")
        assert done.returncode == 1
        assert "without semantic: " in done.stderr
        assert run(project, "query", "retry", "--mode", "semantic").returncode == 2


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("bogus",),
        ("query",),
        ("query", "x", "--limit", "ten"),
        ("query", "x", "--mode", "exact"),
        ("query", "x", "--nonsense"),
        ("start", "two\nlines"),
        ("index", "--wait", "soon"),
        ("init", "--ttl-minutes", "long"),
    ],
    ids=ascii,
)
def test_what_cannot_be_parsed_costs_one_line_and_status_2(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run(None, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_line(done.stderr), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize("wrong", [("--limit", "ten"), ("--mode", "exact"), ("--nonsense",)])
def test_what_cannot_be_parsed_is_an_object_too(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    _refused(run(None, "query", "x", "--json", *wrong, cwd=tmp_path), "bad_argument")


def test_help_names_every_command_and_the_statuses() -> None:
    shown = text_of(run(None, "--help"))
    assert all(re.search(rf"\n    {name}\s", shown) for name in (*COMMANDS, "verify"))
    assert "Exit status: 0 done or found, 1 no match, 2 could not do it" in shown
    assert text_of(run(None, "--version")) == f"cidx-ref {__version__}\n"
    for name in COMMANDS:
        assert "--project" in text_of(run(None, name, "--help"))


def test_verify_is_the_kit_s_command_line() -> None:
    listed = run(None, "verify", "--list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert re.search(r"^\d+ checks, \d+ promises$", listed.stdout.splitlines()[-1])
    assert "usage: cidx-ref verify" in run(None, "verify", "--help").stdout
    refused = run(None, "verify", "nowhere:TARGET")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "cidx-ref verify: nowhere: no such module, here or installed\n"
    misplaced = run(None, "--json", "verify", "nowhere:TARGET")
    assert misplaced.returncode == 2
    assert "verify: it comes first" in misplaced.stderr


@pytest.mark.parametrize(
    ("lost", "named"),
    [("cidx_ref.testing.conformance.__main__", "the kit"), ("hypothesis", "hypothesis")],
)
def test_verify_without_the_kit_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lost: str, named: str
) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {lost!r}", name=lost)

    monkeypatch.setattr("importlib.import_module", missing)
    assert main(["verify", "mine:TARGET"]) == 2
    said = f"cidx-ref: verify needs {named}, which is not installed: "
    assert capsys.readouterr().err == said + "pip install 'cidx-ref[testing]'\n"


@pytest.mark.promise("QRY-4")
def test_any_text_can_be_typed(make_project: MakeProject) -> None:
    project = make_project({"a.c": 'p->next = "x"; /* -v --json */\n', "b.py": "print(r'\\d')\n"})
    build(project)
    with served(project):
        for text in (b"->", b"-v", b"--json", b'"', b"\\d", b"next \xff\xfe", b"=", b'p->next = "'):
            done = run(project, "query", "--", os.fsdecode(text))
            assert (done.returncode, done.stderr) == (0, ""), done


@pytest.mark.parametrize("text", [("",), (" \t",), ("", ""), ("\u3000",)])
@pytest.mark.parametrize("mode", ["hybrid", "semantic", "fts"])
def test_a_query_of_nothing_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: tuple[str, ...], mode: str
) -> None:
    typed = ["query", *text, "--mode", mode, "--json", "--project", str(tmp_path)]
    assert main(typed) == 2
    told = capsys.readouterr()
    why = "TEXT: nothing to look for: it must have more than blanks"
    assert told.err == f"cidx-ref: {why}\n"
    assert json.loads(told.out) == {"error": {"kind": "bad_argument", "message": why}}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.promise("QRY-4")
@pytest.mark.parametrize("mode", ["hybrid", "fts", "literal"])
def test_punctuation_and_quotes_are_something_to_look_for(
    make_project: MakeProject, mode: str
) -> None:
    project = make_project({"a.js": 'const f = (x) => [""];\nf(`  `);\n'})
    build(project)
    with served(project):
        for text in ("=>", '""', '"=>"', "`", ";"):
            is_there = mode != "literal" or text != '"=>"'
            typed = ["query", text, "--mode", mode, "--project", str(project.root)]
            assert main(typed) == (0 if is_there else 1), text


def test_signs_that_have_no_meaning_are_no_query(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project({"a.js": "const f = (x) => 1;\n"})
    build(project)
    with served(project):
        assert main(["query", "=>", "--mode", "semantic", "--project", str(project.root)]) == 2
        complaint = capsys.readouterr().err
        assert complaint.startswith("cidx-ref: TEXT: no word to look for, and mode semantic ")
        assert is_one_line(complaint)
        assert main(["query", "xqz", "--mode", "semantic", "--project", str(project.root)]) == 1


def test_a_filter_that_matches_nothing_is_named_before_the_text_is_blamed(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project({"a.js": "const f = (x) => 1;\n"})
    build(project)
    typed = ["query", "=>", "--mode", "semantic", "--project", str(project.root)]
    with served(project):
        for option, value in (("--path", "nope/**"), ("--language", "cobol")):
            assert main([*typed, option, value]) == 1
            assert f"no file matches {option} '{value}'" in capsys.readouterr().err
        assert main([*typed, "--exclude-path", "nope/**"]) == 2
        complaint = capsys.readouterr().err
        assert complaint.startswith("cidx-ref: TEXT: no word to look for, and mode semantic ")


def test_blanks_are_exact_text_like_any_other(make_project: MakeProject) -> None:
    project = make_project({"a.js": "f(`  `);\n"})
    build(project)
    with served(project):
        for mode in ("literal", "regex"):
            assert main(["query", "  ", "--mode", mode, "--project", str(project.root)]) == 0


def test_paths_that_no_locale_can_show_come_out_all_the_same(make_project: MakeProject) -> None:
    name = os.fsdecode(b"caf\xe9\n\x1b[31m.py")
    project = make_project({name: "def quokka(): pass\n"})
    build(project)
    with served(project):
        for locale in ("C.UTF-8", "C", "POSIX"):
            extra = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
            settings: Mapping[str, Any] = {"env": _environment(**extra), "errors": "replace"}
            done = run(project, "query", "quokka", **settings)
            assert (done.returncode, done.stderr) == (0, ""), done
            assert ESCAPE not in done.stdout
            assert re.match(r"caf\\xe9\\n\\x1b\[31m\.py:1 ", done.stdout), done.stdout
            (hit,) = told(run(project, "query", "quokka", "--json", **settings))["results"]
            assert hit["path"] == name
            assert run(project, "status", **settings).returncode == 0


# Pipes, terminals and Ctrl-C.


def _on_a_terminal(project: Project, *arguments: str, **extra: str) -> str:
    main, side = pty.openpty()
    with os.fdopen(main, "rb") as terminal:
        try:
            done = run(project, *arguments, stdout=side, stderr=side, env=_environment(**extra))
        finally:
            os.close(side)
        shown = b""
        try:
            while piece := os.read(terminal.fileno(), 65_536):
                shown += piece
        except OSError:  # how a terminal says that nobody writes to it any more
            pass
    assert done.returncode == 0, shown
    return shown.decode()


def test_colors_are_for_terminals_that_want_them(project: Project) -> None:
    with served(project):
        assert "\x1b[1;31mretry\x1b[0m" in _on_a_terminal(project, "query", "retry")
        for wish in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            shown = _on_a_terminal(project, "query", "retry", **wish)
            assert "net/retry.py:4" in shown
            assert ESCAPE not in shown
        narrow = _on_a_terminal(project, "query", "retry", NO_COLOR="1", COLUMNS="30")
        assert max(len(line.rstrip("\r")) for line in narrow.split("\n")) <= 30


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "retry"),
        ("query", "retry", "--json"),
        ("query", "zyzzyva", "--json"),
        ("query", "retry", "--limit", "0", "--json"),
        ("status",),
        ("diagnose", "--json"),
        ("start",),
        ("serve",),
        ("index",),
    ],
    ids=" ".join,
)
def test_a_reader_that_has_seen_enough_is_no_error(
    project: Project, arguments: tuple[str, ...]
) -> None:
    with served(project):
        read, write = os.pipe()
        os.close(read)
        try:
            done = run(project, *arguments, stdout=write)
        finally:
            os.close(write)
    failed = "0" in arguments
    lines = [line for line in done.stderr.splitlines() if not line.startswith("indexing ")]
    assert len(lines) == (1 if failed else 0), "never a traceback"
    assert done.returncode in ((2,) if failed else (0, 1)), done


@pytest.mark.parametrize("arguments", [("query", "retry"), ("status", "--json"), ("stop",)])
def test_an_output_that_takes_nothing_is_one_line(
    project: Project, arguments: tuple[str, ...]
) -> None:
    with served(project) as service, open("/dev/full", "w") as full:
        service.on_shutdown = None  # "stop" must not end the process that runs the tests
        if arguments == ("stop",):
            arguments = ("clear-cache",)
        done = run(project, *arguments, stdout=full)
        assert done.returncode == 2
        assert is_one_line(done.stderr), done.stderr
        assert "space" in done.stderr


@pytest.mark.parametrize("arguments", [("query", "retry"), ("status",), ("index", "--json")])
def test_a_closed_output_is_no_traceback(project: Project, arguments: tuple[str, ...]) -> None:
    with served(project):
        for closed in (">&-", "2>&-", ">&- 2>&-"):
            shell = ["sh", "-c", f'exec "$@" {closed}', "sh"]
            done = subprocess.run(
                [*shell, *COMMAND, *arguments, "--project", str(project.root)],
                capture_output=True, text=True, timeout=60, env=_environment(), check=False,
            )  # fmt: skip
            assert "Traceback" not in done.stderr, done.stderr
            assert done.returncode in (0, 2)


class _Slow(HashingEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.entered, self.let_go = SYSTEM.event("entered"), SYSTEM.event("let go")

    def embed_query(self, text: str) -> Any:
        self.entered.set()
        assert self.let_go.wait(30)
        return super().embed_query(text)


@pytest.fixture
def sigint_is_heard() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_is_heard")
def test_ctrl_c_ends_a_query_and_nothing_else(project: Project) -> None:
    slow = _Slow()
    with served(project, embedder=slow):
        command = [*COMMAND, "query", "retry", "--project", str(project.root)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
        ) as asking:
            try:
                assert slow.entered.wait(10)
                asking.send_signal(signal.SIGINT)
                # At once, and not when the daemon has an answer that nobody wants any more.
                shown, errors = asking.communicate(timeout=10)
            finally:
                slow.let_go.set()
                asking.kill()
        assert (asking.returncode, shown) == (130, "")
        assert is_one_line(errors)
        assert "interrupted" in errors
        assert run(project, "query", "retry").returncode == 0, "the daemon takes no notice"


# What it costs, and where it stays.


@pytest.mark.once
@pytest.mark.promise("CFG-1")
def test_without_daemons_the_answer_is_the_same_and_none_is_started(project: Project) -> None:
    with served(project):
        remote = told(run(project, "query", "retry", "--json"))["results"]
    Config.init(project, enabled=False)
    local = told(run(project, "query", "retry", "--json"))["results"]
    assert local == remote
    assert told(run(project, "status", "--json"))["running"] is False
    assert run(project, "index").returncode == 0
    assert not project.socket_path.exists()


def test_a_query_of_a_running_daemon_imports_none_of_the_heavy_libraries(
    project: Project, running: Callable[[Project], int]
) -> None:
    running(project)
    command = [sys.executable, "-P", "-X", "importtime", "-m", "cidx_ref", "query", "retry"]
    done = subprocess.run(
        [*command, "--project", str(project.root)], capture_output=True, text=True, timeout=60,
        env=_environment(), check=True,
    )  # fmt: skip
    assert done.stdout.startswith("net/retry.py:")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "cidx_ref.client" in imported
    heavy = {"numpy", "hnswlib", "tantivy", "hypothesis", "asyncio", "pathspec", "snowballstemmer",
             "cidx_ref.daemon", "cidx_ref.index"}  # fmt: skip
    assert not {name for name in imported if name.partition(".")[0] in heavy or name in heavy}


def test_nothing_is_imported_from_the_project(make_project: MakeProject) -> None:
    traps = {f"{name}/__init__.py": "raise SystemExit('trapped')\n"
             for name in ("json", "rpyc", "numpy", "cidx_ref", "tantivy")}  # fmt: skip
    project = make_project({**traps, "a.py": "def quokka(): pass\n"})
    try:
        done = run(project, "query", "quokka", cwd=project.root)
        assert (done.returncode, done.stdout[:5]) == (0, "a.py:"), done
    finally:
        end_daemon(project)


def test_a_later_signal_finds_the_daemon_in_a_session_of_its_own(
    project: Project, running: Callable[[Project], int]
) -> None:
    pid = running(project)
    assert os.getsid(pid) != os.getsid(0), "Ctrl-C in the terminal that started it is not for it"
    assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")


@pytest.mark.parametrize(("guessed", "said"), [(0, False), (3, True)])
def test_files_that_were_decoded_by_a_guess_are_told_where_there_are_any(
    guessed: int, said: bool
) -> None:
    report = {"skipped": {"binary": 2}, "changed": True, "removed": [], "files": 9, "chunks": 9}
    told: Any = {**report, "guessed": guessed, "took_ms": 1.0, "generation": "g"}
    line = run_summary(told)
    assert line.endswith("(generation g)" + "; 3 decoded by guess" * said + "; skipped: 2 binary")


@pytest.mark.promise("FRESH-2")
def test_a_fresh_query_sees_what_was_saved_before_it(fresh: Project) -> None:
    Config.init(fresh, watch=False)  # which might have seen it by then
    found = run(fresh, "query", "--fresh", "retry", "--json")
    assert told(found)["fresh"] is True, "the index was built first"
    (fresh.root / "net" / "retry.py").write_text("def wombat_again():\n    pass\n")
    old = told(run(fresh, "query", "retry_on_disconnect", "--mode", "fts", "--json"))
    assert {hit["stale"] for hit in old["results"] if hit["path"] == "net/retry.py"} == {True}
    assert not any("stale" in hit for hit in old["results"] if hit["path"] != "net/retry.py")
    assert {"indexed_at", "pending"} <= old.keys()
    assert "fresh" not in old
    assert "net/retry.py:4 (stale)" in run(fresh, "query", "disconnects", "--mode", "fts").stdout
    new = told(run(fresh, "query", "--fresh", "wombat_again", "--mode", "fts", "--json"))
    assert [hit["path"] for hit in new["results"]] == ["net/retry.py"]
    assert "stale" not in new["results"][0]
    assert new["indexed_at"] > old["indexed_at"]


def test_an_answer_that_is_not_fresh_says_so_beside_the_hits(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: object, options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cidx_ref.index.ours.OurIndex.begin_run", fail)
    with served(project):
        assert main(["query", "--fresh", "retry", "--project", str(project.root)]) == 0
        printed = capsys.readouterr()
        assert printed.out.startswith("net/retry.py:")
        assert printed.err == "cidx-ref: not fresh: No space left on device\n"


@pytest.mark.promise("FRESH-3")
def test_who_finds_nothing_is_told_what_has_changed_since(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands._show(Answer((), "hybrid", "g1", 1.0, pending=2), is_filtered=False)
    said = "no match\n2 files changed since: --fresh waits for them\n"
    assert capsys.readouterr() == ("", said)
