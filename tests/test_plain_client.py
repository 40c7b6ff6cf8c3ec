"""A plain RPyC client, with none of our code, uses the daemon as the story's clients do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rpyc.core.vinegar import GenericException
from rpyc.utils.factory import unix_connect

from cidx_ref.client import DaemonClient
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import address_of
from cidx_ref.testing.own.fixtures import served

WAIT_S = 30.0

NEEDED = {"path", "line_start", "line_end", "language", "score", "snippet"}


@pytest.fixture
def service(project: Project) -> Iterator[CIDXDaemonService]:
    """Of a whole daemon, in threads of this process."""
    with served(project) as made:
        yield made


@pytest.fixture
def connection(service: CIDXDaemonService, project: Project) -> Iterator[Any]:
    with address_of(project.socket_path) as address:
        connected = unix_connect(address)
    yield connected
    connected.close()


@pytest.mark.promise("SRV-1", "RPC-3")
@pytest.mark.parametrize("method", ["query", "query_fts", "query_hybrid"])
def test_an_answer_is_used_like_the_dictionary_it_is(
    connection: Any, project: Project, method: str
) -> None:
    answer = getattr(connection.root, method)(str(project.root), "retry when the peer disconnects")
    hits = answer["results"]
    mode = {"query": "semantic", "query_fts": "fts", "query_hybrid": "hybrid"}[method]

    assert answer["mode"] == answer.get("mode") == mode
    assert answer.get("nothing") is None
    assert answer.get("nothing", 7) == 7
    assert {"results", "mode", "generation", "took_ms"} <= set(answer.keys())
    assert {"results", "mode", "generation", "took_ms"} <= set(answer)
    assert dict(answer.items())["mode"] == mode
    assert mode in list(answer.values())
    assert "mode" in answer
    assert "nothing" not in answer
    assert answer == answer
    assert answer != hits
    assert len(answer) == len(list(answer))
    with pytest.raises(KeyError):
        answer["nothing"]

    assert len(hits) == len(list(hits)) > 0
    assert next(hit["path"] for hit in hits) == hits[0]["path"] == "net/retry.py"
    assert hits[-1] in hits
    assert hits.index(hits[0]) == 0
    assert hits.count(hits[0]) == 1
    assert [hit["path"] for hit in hits[:1]] == ["net/retry.py"]
    with pytest.raises(IndexError):
        hits[len(hits)]
    for hit in hits:
        assert set(hit) >= NEEDED
        assert 1 <= hit["line_start"] <= hit["line_end"]
        assert isinstance(hit["score"], float)
        lines = Path(project.root, hit["path"]).read_text().splitlines()
        assert hit["line_end"] <= len(lines)
    assert "net/retry.py" in str(answer)
    assert "net/retry.py" in repr(hits)
    if method == "query_hybrid":
        assert answer["semantic_count"] > 0
        assert answer["fts_count"] > 0


@pytest.mark.promise("RPC-3", "OBS-1")
def test_the_other_methods_answer_with_dictionaries_too(connection: Any, project: Project) -> None:
    root = connection.root
    root.query(str(project.root), "retry")
    assert root.ping()["pid"] == os.getpid()
    assert root.get_status()["semantic_cached"]
    assert root.get_health()["status"] == "healthy"
    assert root.get_metrics()
    assert root.get_diagnostics()["in_flight"][0]["method"] == "get_diagnostics"
    assert root.clear_cache()["status"] == "cache cleared"
    assert root.get_status()["cache_empty"]
    assert root.exposed_ping()["pong"]
    root.shutdown()


@pytest.mark.promise("RPC-3", "QRY-2")
def test_lists_may_be_passed_as_lists_tuples_sets_or_one_string(
    connection: Any, project: Project
) -> None:
    def ask(**filters: Any) -> set[str]:
        found = connection.root.query_fts(str(project.root), "session retry parse", 50, **filters)
        return {hit["path"] for hit in found["results"]}

    python = {"auth/login.py", "net/retry.py"}
    for languages in (["python"], ("py",), {"Python"}, frozenset({"python"}), "python",
                      {"python": 1}, iter(["python"])):  # fmt: skip
        assert ask(languages=languages) == python
    assert ask(languages=["python"], exclude_paths=["auth/"]) == {"net/retry.py"}
    assert ask(paths=["*.js", "net/**"]) == {"web/app.js", "net/retry.py"}
    assert ask(languages=[], paths=(), exclude_paths=None) > python


@pytest.mark.promise("RPC-2", "QRY-5")
def test_a_bad_argument_is_refused_by_name_and_the_connection_lives_on(
    connection: Any, service: CIDXDaemonService, project: Project
) -> None:
    root, path = connection.root, str(project.root)
    calls: dict[str, Callable[[], object]] = {
        "limit: 0": lambda: root.query(path, "retry", limit=0),
        "laguages: unknown argument": lambda: root.query(path, "retry", laguages=["python"]),
        "did you mean 'python'": lambda: root.query(path, "retry", languages=["pyhton"]),
        "languages: ": lambda: root.query(path, "retry", languages=[object()]),
        "languages: more than": lambda: root.query(path, "retry", languages=["python"] * 1001),
        "query: must be a string": lambda: root.query(path, ["retry"]),
        "limit: ": lambda: root.query(path, "retry", object()),
        "project_path: ": lambda: root.query(Path(path), "retry"),
        "project: ": lambda: root.query("/nowhere/at/all", "retry"),
        "callback: must be callable": lambda: root.index(path, 5),
        "wait_s: -1": lambda: root.index(path, wait_s=-1),
    }
    for message, call in calls.items():
        with pytest.raises(GenericException) as caught:
            call()
        assert type(caught.value).__name__ == "cidx_ref.errors.BadArgumentError", message
        assert message in caught.value.args[0]
    assert service.health_monitor.get_health()["errors"] == 0
    assert root.ping()["pong"]


class Progress:
    """A callback that remembers what it was told, and may do something besides."""

    def __init__(self, and_then: Any = lambda: None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.and_then = and_then

    def __call__(self, *event: Any) -> None:
        self.told.append(event)
        self.and_then()


def fail(error: BaseException) -> Any:
    def failing() -> None:
        raise error

    return failing


@pytest.mark.promise("CACHE-5")
@pytest.mark.parametrize("kind", ["function", "method", "object"])
def test_progress_is_told_to_any_callable_and_ends_at_the_total(
    connection: Any, project: Project, kind: str
) -> None:
    for number in range(30):
        (project.root / f"more{number}.py").write_text(f"def added_{number}():\n    pass\n")
    progress = Progress()
    callback = {
        "function": lambda *event: progress(*event),
        "method": progress.__call__,
        "object": progress,
    }[kind]
    report = connection.root.index(str(project.root), callback)
    assert report["status"] == "completed"
    assert progress.told[-1][0] == progress.told[-1][1] == 34
    counts = [current for current, *_ in progress.told]
    assert counts == sorted(counts)
    assert {len(event) for event in progress.told} <= {3, 4}
    found = connection.root.query_fts(str(project.root), "added_29")["results"]
    assert found[0]["path"] == "more29.py"


@pytest.mark.promise("RPC-5")
@pytest.mark.parametrize(
    "error",
    [ValueError("no"), StopIteration(), EOFError("gone"), SystemExit(3), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
def test_a_callback_that_fails_is_not_called_again_and_the_index_is_built(
    connection: Any, service: CIDXDaemonService, project: Project, error: BaseException
) -> None:
    (project.root / "new.py").write_text("def added_meanwhile():\n    pass\n")
    progress = Progress(fail(error))
    assert connection.root.index(str(project.root), progress)["status"] == "completed"
    assert len(progress.told) == 1
    found = connection.root.query_fts(str(project.root), "added_meanwhile")["results"]
    assert found[0]["path"] == "new.py"
    assert service.health_monitor.get_health()["errors"] == 0


@pytest.mark.promise("RPC-5", "RPC-4", "WRITE-2")
def test_a_callback_that_blocks_holds_up_neither_the_build_nor_anybody_else(
    connection: Any, service: CIDXDaemonService, project: Project
) -> None:
    (project.root / "new.py").write_text("def added_meanwhile():\n    pass\n")
    go_on, entered = SYSTEM.event("go on"), SYSTEM.event("entered")

    def block() -> None:
        entered.set()
        assert go_on.wait(WAIT_S)

    reports: list[Any] = []
    connection._config["sync_request_timeout"] = WAIT_S
    thread = SYSTEM.thread(
        lambda: reports.append(connection.root.index(str(project.root), Progress(block))), "index"
    )
    try:
        assert entered.wait(WAIT_S)
        assert service.gate.wait_until_empty(WAIT_S)  # the build is done, and waits for nobody
        with DaemonClient(project, start=False) as client:
            assert client.query("added_meanwhile", mode="fts")[0].path == "new.py"
    finally:
        go_on.set()
        thread.join(WAIT_S)
    assert reports[0]["status"] == "completed"


@pytest.mark.promise("RPC-5", "WRITE-1")
def test_a_callback_that_asks_for_more_over_its_own_connection_harms_nobody(
    connection: Any, service: CIDXDaemonService, project: Project
) -> None:
    """The build of the outer call is not done when the inner one begins to wait for it."""
    root, path = connection.root, str(project.root)
    for number in range(300):
        words = (hashlib.md5(f"{number}.{n}".encode()).hexdigest()[:8] for n in range(40))
        (project.root / f"more{number}.py").write_text("\n".join(words))
    inner: list[Any] = []

    def ask() -> None:
        if not inner:
            inner.append(None)
            inner.append(root.query_fts(path, "retry")["results"][0]["path"])
            inner.append(root.index(path)["status"])

    connection._config["sync_request_timeout"] = WAIT_S
    assert root.index(path, Progress(ask))["status"] == "completed"
    assert inner == [None, "net/retry.py", "completed"]
    assert service.gate.calls() == []
    assert root.get_status()["files"] == 304


@pytest.mark.promise("QRY-4", "RPC-2")
def test_a_file_name_that_is_not_utf8_does_not_end_the_connection(
    connection: Any, project: Project
) -> None:
    raw = b"caf\xe9_\xff.py"
    with open(os.path.join(os.fsencode(project.root), raw), "wb") as file:  # noqa: PTH118
        file.write(b"def brew_espresso():\n    pass\n")
    root, path = connection.root, str(project.root)
    progress = Progress()
    assert root.index(path, progress)["status"] == "completed"
    answer = root.query_fts(path, "brew_espresso")
    shown = "caf\\udce9_\\udcff.py"
    assert answer["results"][0]["path"] == shown
    assert dict(answer["results"][0].items())["path"] == shown
    assert "brew_espresso" in str(answer)
    assert "brew_espresso" in repr(list(answer["results"][0].values()))
    with DaemonClient(project, start=False) as client:
        hit = client.query("brew_espresso", mode="fts")[0]
    assert os.fsencode(hit.path) == raw
    assert root.ping()["pong"]


@pytest.mark.promise("RPC-3")
def test_an_answer_outlives_the_index_it_came_from_and_cannot_be_changed(
    connection: Any, service: CIDXDaemonService, project: Project
) -> None:
    answer = connection.root.query(str(project.root), "retry")
    connection.root.clear_cache()
    assert answer["results"][0]["path"] == "net/retry.py"
    changes: tuple[Callable[[], object], ...] = (
        lambda: answer["results"].append(1),
        lambda: answer["results"].clear(),
        lambda: answer.__setitem__("mode", "x"),
        lambda: answer.pop("mode"),
        lambda: answer["results"][0].update({"path": "x"}),
    )
    for change in changes:
        with pytest.raises(AttributeError, match="cannot access"):
            change()
    assert answer["results"][0]["path"] == "net/retry.py"
