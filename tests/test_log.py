"""The daemon's log: a record is one line, and what is provoked often pushes nothing else out."""

from __future__ import annotations

import json
import logging
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from frames import Scripted, request, value
from rpyc.core import consts

from cidx_ref.daemon.log import logging_to
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import NoIndexError
from cidx_ref.places import INDEX_DIRECTORY
from cidx_ref.project import Project
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import build

_log = logging.getLogger("cidx_ref")

RECORD = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?:INFO|WARNING|ERROR) \S+ .")
MAX_LINE_BYTES = 20_000


@pytest.fixture
def bare(tmp_path: Path) -> Project:
    return Project.at(tmp_path)


def lines(project: Project) -> list[str]:
    """Of all that is kept of the log, oldest first."""
    paths = [project.directory / f"daemon.log{end}" for end in (".2", ".1", "")]
    return [line for path in paths if path.exists() for line in path.read_text().splitlines()]


@pytest.mark.promise("OBS-3", "TRUST-1")
def test_a_record_is_one_line_whatever_is_in_it(bare: Project) -> None:
    forged = "x\n2026-01-01 00:00:00,000 INFO MainThread forged\r\x1b[2J\u2028\x85\x00\udcff"
    with logging_to(bare):
        _log.info("of %s", forged)
        try:
            raise ValueError(forged) from OSError(2, "No such file", forged)
        except ValueError:
            _log.exception("%s failed", forged)
        _log.info("long: %s", "\x00" * 1_000_000)
    found = lines(bare)
    assert len(found) == 3
    for line in found:
        assert RECORD.match(line)
        assert line.isprintable()
        assert len(line) < MAX_LINE_BYTES


@pytest.mark.promise("OBS-3")
def test_an_errors_traceback_is_in_its_line_with_what_it_came_of(bare: Project) -> None:
    with logging_to(bare):
        try:
            try:
                json.loads("{")
            except ValueError as error:
                raise KeyError("outer") from error
        except KeyError:
            _log.exception("ping failed")
    (line,) = lines(bare)
    assert "ERROR MainThread ping failed: KeyError: 'outer' (traceback: " in line
    assert f"{__file__}:" in line
    assert "; after JSONDecodeError: " in line
    assert "in raw_decode" in line


@pytest.mark.promise("OBS-3", "RPC-6")
def test_a_traceback_without_end_is_cut(bare: Project) -> None:
    def deeper() -> None:
        deeper()

    with logging_to(bare):
        try:
            deeper()
        except RecursionError:
            _log.exception("deep")
    (line,) = lines(bare)
    assert len(line) < MAX_LINE_BYTES
    assert line.count("in deeper") <= 12


@pytest.mark.promise("OBS-3", "RPC-6")
def test_what_is_said_again_and_again_is_counted_and_all_else_stays(bare: Project) -> None:
    runtime = FakeRuntime()
    with logging_to(bare, runtime):
        _log.info("serving, and worth to be kept")
        for hour in range(24):
            for _ in range(2_000):
                _log.info("query refused: %s", "x" * 500)
                _log.error("%s failed: %s", "query", "y" * 500)
            runtime.advance(3600)
            _log.warning("hour %d", hour)
        for _ in range(7):
            _log.info("query refused: %s", "x" * 100_000)
    found = lines(bare)
    assert any("worth to be kept" in line for line in found)
    assert [line for line in found if "hour 23" in line]
    refused = [line for line in found if "query refused" in line and "more lines" not in line]
    counts = [int(n) for line in found for n in re.findall(r"(\d+) more lines like 'query r", line)]
    assert len(refused) > 100
    assert len(refused) + sum(counts) == 24 * 2_000 + 7
    assert sum((bare.directory / name).stat().st_size for name in ("daemon.log",)) < 3_000_000


@pytest.mark.promise("RPC-6", "OBS-3")
def test_thirty_messages_of_deep_tuples_do_not_push_the_log_away(bare: Project) -> None:
    with logging_to(bare), closing(Scripted(CIDXDaemonService(bare.root))) as scripted:
        _log.info("worth to be kept")
        deep: Any = ()
        for _ in range(35):
            deep = (deep, ())
        for _ in range(30):
            scripted.hand(request(consts.HANDLE_STR, value(deep)))
            scripted.hand(request(consts.HANDLE_CALL, value(deep), value(()), value(())))
            call = value("query"), value((deep, deep)), value(())
            scripted.hand(request(consts.HANDLE_CALLATTR, scripted.root(), *call))
    found = lines(bare)
    assert any("worth to be kept" in line for line in found)
    assert not (bare.directory / "daemon.log.1").exists()
    assert all(RECORD.match(line) for line in found)


@pytest.mark.promise("RPC-2", "OBS-3")
@pytest.mark.parametrize("mode", ["query", "index", "get_status"])
def test_the_log_has_once_what_a_client_is_not_told(
    bare: Project, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    service = CIDXDaemonService(bare.root)

    def fail(*args: object, **options: object) -> None:
        raise ZeroDivisionError("of /srv/private")

    monkeypatch.setattr("cidx_ref.daemon.served.Served.answer", fail)
    monkeypatch.setattr("cidx_ref.daemon.service.CIDXDaemonService._run_index", fail)
    monkeypatch.setattr("cidx_ref.daemon.report.status", fail)
    given = {} if mode == "get_status" else {"project_path": str(bare.root)}
    given |= {"query": "x"} if mode == "query" else {}
    with logging_to(bare):
        kind, said = json.loads(service.exposed_call(mode, json.dumps(given)))["error"]
    assert (kind, said) == ("internal", f"{mode}: ZeroDivisionError; see daemon.log")
    (line,) = (line for line in lines(bare) if "ZeroDivisionError" in line)
    assert "of /srv/private" in line
    assert f"{__file__}:" in line


@pytest.mark.promise("RPC-2", "OBS-3")
@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_error_of_ours_names_no_place_of_the_daemons_and_the_log_does(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    if elsewhere:
        monkeypatch.setenv(INDEX_DIRECTORY, str(tmp_path / "far"))
        project = Project.at(project.root)
        build(project)
    service = CIDXDaemonService(project.root)
    given = json.dumps({"project_path": str(project.root), "query": "retry"})
    with logging_to(project):
        project.generations.rename(tmp_path / "moved")
        project.generations.symlink_to(tmp_path / "moved")
        kind, said = json.loads(service.exposed_call("query", given))["error"]
        with pytest.raises(NoIndexError) as caught:
            service.exposed_query(str(project.root), "retry")
    assert kind == "no_index"
    assert said.startswith(".code-indexer/generations is a symbolic link")
    assert str(caught.value) == said
    told = [line for line in lines(project) if "is a symbolic link" in line]
    assert len(told) == 2
    assert all(str(project.generations) in line for line in told)
