"""The port: the daemon serves any index that has it, and knows nothing of ours."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cidx_ref
from cidx_ref.client import DaemonClient
from cidx_ref.errors import InternalError, NoIndexError
from cidx_ref.index.port import RunListener, RunOptions, Search
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import MakeProject, served


class Notes:
    """One generation of an index of notes, in memory."""

    unavailable = {"semantic": "notes have no meaning"}  # noqa: RUF012 - never changed

    def __init__(self, generation: str, lines: list[str]) -> None:
        self.generation = generation
        self.lines = lines
        self.count = len(lines)
        self.is_open = True

    def answer(self, search: Search) -> dict[str, Any]:
        assert self.is_open
        found = [n for n, line in enumerate(self.lines, 1) if search.text in line]
        hits = [
            {"path": "notes", "line_start": n, "line_end": n, "language": "", "score": 1.0,
             "snippet": self.lines[n - 1], "snippet_start": n, "name": ""}
            for n in found[: search.limit]
        ]  # fmt: skip
        told = {"mode": search.mode, "generation": self.generation, "took_ms": 0.0}
        return {"results": hits, **told}

    def close(self) -> None:
        self.is_open = False


class NotesIndex:
    """The lines of the file `notes` of a project; a generation is as many runs as there were."""

    def __init__(self, project: Project) -> None:
        self._file = project.root / "notes"
        self._lines: list[list[str]] = []
        self.loaded: list[Notes] = []
        self.options: list[RunOptions] = []

    def current(self) -> str:
        if not self._lines:
            raise NoIndexError("no notes yet")
        return str(len(self._lines))

    def load(self, generation: str) -> Notes:
        self.loaded.append(Notes(generation, self._lines[int(generation) - 1]))
        return self.loaded[-1]

    def describe(self) -> dict[str, Any]:
        return {"generation": str(len(self._lines)), "index_age_seconds": 0.0, "files": 1,
                "chunks": len(self._lines[-1]) if self._lines else 0}  # fmt: skip

    def check(self) -> dict[str, Any]:
        return {"notes": "are as they should be"}

    def skipped(self) -> dict[str, Any]:
        return {"counts": {}, "files": []}

    def sweep(self) -> None:
        pass

    def begin_run(self, options: RunOptions) -> NotesIndex:
        self.options.append(options)
        return self

    def run(self, listener: RunListener) -> dict[str, Any]:
        listener.scanning()
        self._lines.append(self._file.read_text().splitlines())
        listener.progress(1, 1, "notes", "done")
        return {"generation": self.current(), "changed": True, "files": 1, "chunks": 1,
                "skipped": {}, "removed": [], "notes": []}  # fmt: skip

    def cancel(self) -> None:
        pass


@pytest.fixture
def notes(make_project: MakeProject) -> Iterator[tuple[NotesIndex, DaemonClient]]:
    project = make_project()
    project.create_directory()
    (project.root / "notes").write_text("buy bread\nread about ports\n")
    index = NotesIndex(project)
    with (
        served(project, index=lambda project, runtime: index),
        DaemonClient(project, start=False) as client,
    ):
        yield index, client


@pytest.mark.promise("SRV-1", "CACHE-5")
def test_an_index_of_another_kind_is_served_over_the_socket(
    notes: tuple[NotesIndex, DaemonClient], tmp_path: Path
) -> None:
    index, client = notes
    with pytest.raises(NoIndexError, match="no notes yet"):
        client.query("bread")
    told: list[tuple[Any, ...]] = []
    assert client.index(progress=lambda *event: told.append(event))["generation"] == "1"
    assert told == [(1, 1, "notes", "done")]
    assert [hit.snippet for hit in client.query("bread")] == ["buy bread"]
    assert client.status()["semantic_cached"] is False
    assert client.status()["fts_cached"] is True
    assert client.status()["chunks"] == 2
    assert dict(client.diagnostics())["notes"] == "are as they should be"

    (tmp_path / "project" / "notes").write_text("bake bread\n")
    assert client.index(full=True)["generation"] == "2"
    assert index.options[-1].full
    assert [hit.snippet for hit in client.query("bread")] == ["bake bread"]
    client.clear_cache()
    assert client.status()["cache_empty"] is True
    assert [loaded.is_open for loaded in index.loaded] == [False] * len(index.loaded)


@pytest.mark.promise("RPC-2")
def test_an_answer_that_cannot_be_read_is_an_error_in_one_line(
    notes: tuple[NotesIndex, DaemonClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = notes
    client.index()
    answers: list[Any] = [{"hits": []}, {"results": [{}], "mode": "fts"}, ["bread"], None]
    for answer in answers:
        monkeypatch.setattr(Notes, "answer", lambda self, search, told=answer: told)
        with pytest.raises(InternalError, match="cannot be read"):
            client.query("bread")
    monkeypatch.setattr(NotesIndex, "run", lambda self, listener: {"generation": "1"})
    assert client.index()["files"] == 0


def test_the_daemon_names_no_implementation_of_the_port() -> None:
    known = {"port", "catalog", "embed", "languages", "filters", "pattern"}
    # The watch goes by the rules of trees, whatever index there is of one.
    known |= {"decode", "defaults", "folders", "gitdir", "matching", "notebook", "walk"}
    for path in (Path(cidx_ref.__file__).parent / "daemon").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and "cidx_ref.index" in (node.module or ""):
                module = str(node.module).removeprefix("cidx_ref.index").lstrip(".")
                named = {module} if module else {alias.name for alias in node.names}
                assert named <= known, f"{path.name} imports {named}"
