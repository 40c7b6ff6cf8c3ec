"""Bad arguments: refused by name, before anything is locked, entered, loaded or counted against
the daemon (QRY-5)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import BadArgumentError
from cidx_ref.limits import MAX_LIMIT, MAX_TEXT_CHARS
from cidx_ref.project import Project
from cidx_ref.runtime import Condition, Lock, Runtime
from cidx_ref.testing.clock import FakeRuntime

QUERIES = ("query", "query_fts", "query_hybrid")

#: What is passed, and the words of the message that say which argument and what is wrong.
BAD_QUERIES: list[tuple[dict[str, Any], str]] = [
    ({"query": None}, "query: must be a string, not NoneType"),
    ({"query": b"text"}, "query: must be a string, not bytes"),
    ({"query": ["text"]}, "query: must be a string, not list"),
    ({"query": "x" * (MAX_TEXT_CHARS + 1)}, f"query: {MAX_TEXT_CHARS + 1} characters"),
    ({"explain": 1}, "explain: 1: must be true or false"),
    ({"ignore_case": True}, "ignore_case: only in the modes literal and regex"),
    ({"limit": 0}, "limit: 0: "),
    ({"limit": -1}, "limit: -1: "),
    ({"limit": MAX_LIMIT + 1}, f"limit: {MAX_LIMIT + 1}: "),
    ({"limit": 10**400}, "limit: "),
    ({"limit": True}, "limit: True: "),
    ({"limit": "10"}, "limit: '10': "),
    ({"limit": 10.0}, "limit: 10.0: "),
    ({"limit": math.nan}, "limit: nan: "),
    ({"limit": math.inf}, "limit: inf: "),
    ({"limit": None}, "limit: None: "),
    ({"language": "python"}, "language: unknown argument; known are: languages, "),
    ({"kwargs": {}}, "kwargs: unknown argument"),
    ({"languages": ["pyhton"]}, "languages: unknown language 'pyhton' (did you mean 'python'?)"),
    ({"languages": ["python", "klingon"]}, "languages: unknown language 'klingon'"),
    ({"languages": [""]}, "languages: unknown language ''"),
    ({"languages": ["\udcff"]}, "languages: unknown language '\\udcff'"),
    ({"languages": [1]}, "languages: 1: must be a string"),
    ({"languages": [["python"]]}, "languages: ['python']: must be a string"),
    ({"languages": 5}, "languages: must be a list of strings"),
    ({"languages": ["python"] * 1001}, "languages: more than 1000"),
    ({"paths": [""]}, "paths: '': must not be empty"),
    ({"paths": "  "}, "paths: '  ': must not be empty"),
    ({"paths": [None]}, "paths: None: must be a string"),
    ({"exclude_paths": ["*.py", "\t"]}, "exclude_paths: '\\t': must not be empty"),
    ({"paths": ["src\\"]}, "paths: 'src\\\\'"),
    ({"exclude_paths": ["[a"]}, "exclude_paths: '[a'"),
    ({"fresh": 1}, "fresh: 1: must be true or false"),
    ({"fresh": None}, "fresh: None: must be true or false"),
    ({"timeout_s": 0.04}, "timeout_s: 0.04: must be 0.05 to 3600 seconds"),
    ({"timeout_s": 3601}, "timeout_s: 3601: "),
    ({"timeout_s": -1}, "timeout_s: -1: "),
    ({"timeout_s": math.nan}, "timeout_s: nan: "),
    ({"timeout_s": math.inf}, "timeout_s: inf: "),
    ({"timeout_s": True}, "timeout_s: True: "),
    ({"timeout_s": "60"}, "timeout_s: '60': "),
    ({"timeout_s": 10**400}, "timeout_s: "),
]

BAD_INDEXES: list[tuple[dict[str, Any], str]] = [
    ({"callback": 5}, "callback: must be callable, not int"),
    ({"force": True}, "force: unknown argument; known are: full, wait_s"),
    ({"full": 1}, "full: 1: must be true or false"),
    ({"full": "no"}, "full: 'no': must be true or false"),
    ({"wait_s": -0.5}, "wait_s: -0.5: "),
    ({"wait_s": math.nan}, "wait_s: nan: "),
    ({"wait_s": math.inf}, "wait_s: inf: "),
    ({"wait_s": True}, "wait_s: True: "),
    ({"wait_s": "1"}, "wait_s: '1': "),
    ({"wait_s": 10**400}, "wait_s: "),
]

BAD_PROJECTS = {
    "": "not a directory: ''",
    "/": "is not what this daemon serves",
    "/nowhere/at/all": "not a directory: '/nowhere/at/all'",
    "/tmp\0": "not a directory: '/tmp\\x00'",
    "\udcff": "not a directory: '\\udcff'",
    "a" * 5000: "not a directory: ",
}


class Jealous(FakeRuntime):
    """A runtime that knows which locks were taken: of the gate, the cache and the adoption."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []

    def lock(self, name: str) -> Lock:
        watched: Lock = self._watched(name, Runtime.lock(self, name))
        return watched

    def condition(self, name: str) -> Condition:
        watched: Condition = self._watched(name, Runtime.condition(self, name))
        return watched

    def _watched(self, name: str, lock: Any) -> Any:
        taken = self.taken

        class Proxy:
            def __enter__(self) -> Any:
                taken.append(name)
                return lock.__enter__()

            def __exit__(self, *details: Any) -> Any:
                return lock.__exit__(*details)

            def __getattr__(self, attribute: str) -> Any:
                return getattr(lock, attribute)

        return Proxy()


@pytest.fixture
def jealous() -> Jealous:
    return Jealous()


@pytest.fixture
def service(project: Project, jealous: Jealous) -> Iterator[CIDXDaemonService]:
    made = CIDXDaemonService(project.root, runtime=jealous)
    jealous.taken.clear()
    yield made
    # Whatever was refused: nobody entered, nothing was loaded, and it was not the daemon's fault.
    assert made.gate.calls() == []
    assert made.cache_entry is None
    assert made.health_monitor.get_health()["errors"] == 0


def refusal(service: CIDXDaemonService, method: str, arguments: dict[str, Any]) -> str:
    with pytest.raises(BadArgumentError) as caught:
        getattr(service, f"exposed_{method}")(**arguments)
    return str(caught.value)


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize(("bad", "message"), BAD_QUERIES, ids=lambda v: str(v)[:40])
def test_every_mode_refuses_a_bad_argument_by_name_before_any_lock(
    service: CIDXDaemonService, jealous: Jealous, project: Project, bad: Any, message: str
) -> None:
    good = {"project_path": str(project.root), "query": "retry"}
    for method in QUERIES:
        assert message in refusal(service, method, {**good, **bad})
    # Counting the call is all that needs a lock.
    assert set(jealous.taken) <= {"metrics"}


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize(("bad", "message"), BAD_INDEXES, ids=lambda v: str(v)[:40])
def test_index_refuses_a_bad_argument_by_name_before_it_starts_a_build(
    service: CIDXDaemonService, jealous: Jealous, project: Project, bad: Any, message: str
) -> None:
    before = sorted(project.generations.iterdir())
    assert message in refusal(service, "index", {"project_path": str(project.root), **bad})
    assert set(jealous.taken) <= {"metrics"}
    assert sorted(project.generations.iterdir()) == before


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize("path", BAD_PROJECTS, ids=lambda path: ascii(path[:20]))
def test_another_project_or_none_at_all_is_refused_by_name(
    service: CIDXDaemonService, jealous: Jealous, path: str
) -> None:
    for method in (*QUERIES, "index"):
        arguments = {"project_path": path, **({} if method == "index" else {"query": "retry"})}
        message = refusal(service, method, arguments)
        assert message.startswith("project")
        assert BAD_PROJECTS[path] in message
    for wrong in (None, 5, b"/", ["/"]):
        assert "project_path: must be a path" in refusal(
            service, "query", {"project_path": wrong, "query": "retry"}
        )
    assert set(jealous.taken) <= {"metrics"}


@pytest.mark.promise("QRY-5")
def test_a_bad_argument_does_not_make_a_service_adopt_a_project(
    project: Project, jealous: Jealous
) -> None:
    service = CIDXDaemonService(runtime=jealous)
    refusal(service, "query", {"project_path": str(project.root), "query": "x", "limit": 0})
    refusal(service, "index", {"project_path": str(project.root), "full": None})
    assert service.project is None


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("forget", "{}", "method: 'forget': unknown"),
        ("call", "{}", "method: 'call': unknown"),
        ("__init__", "{}", "method: '__init__': unknown"),
        ("exposed_query", "{}", "method: 'exposed_query': unknown"),
        (None, "{}", "method: None: unknown"),
        (["query"], "{}", "method: ['query']: unknown"),
        ("query", "not json", "arguments_json: "),
        ("query", "[]", "arguments_json: must be an object"),
        ("query", None, "arguments_json: "),
        ("query", b"\xff\xfe\xff", "arguments_json: "),
        ("query", "[" * 100_000, "arguments_json: "),
        ("query", '{"query": ' + "9" * 5000 + "}", "arguments_json: "),
        ("query", '{"project_path": "/"}', "query: missing a required argument: 'query'"),
        ("ping", '{"loud": true}', "ping: got an unexpected keyword argument 'loud'"),
        ("ping", '{"self": 1}', "ping: got an unexpected keyword argument 'self'"),
        ("query", '{"project_path": "/", "query": "x", "limit": NaN}', "limit: nan: "),
    ],
    ids=lambda v: str(v)[:30],
)
def test_the_call_of_the_shipped_client_refuses_by_name_too(
    service: CIDXDaemonService, method: Any, arguments: Any, message: str
) -> None:
    kind, said = json.loads(service.exposed_call(method, arguments))["error"]
    assert kind == "bad_argument"
    assert message in said


@pytest.mark.promise("QRY-5")
def test_a_good_argument_at_its_limits_is_taken(project: Project) -> None:
    service = CIDXDaemonService(project.root)
    root = str(project.root)
    try:
        for limit in (1, MAX_LIMIT):
            assert service.exposed_query_fts(root, "retry", limit)["results"]
        assert service.exposed_query_fts(root, "retry " + "x" * (MAX_TEXT_CHARS - 6))["results"]
        only = service.exposed_query_fts(root, "retry", languages="PY", paths=["net/"])["results"]
        assert {hit["path"] for hit in only} == {"net/retry.py"}
        assert not service.exposed_query_fts(root, "retry", exclude_paths=["*.py", "*.md"])[
            "results"
        ]
    finally:
        service.exposed_clear_cache()


@pytest.mark.promise("RPC-4", "QRY-5")
def test_patterns_with_many_stars_are_answered_and_too_many_or_too_long_ones_refused(
    service: CIDXDaemonService, project: Project
) -> None:
    arguments = {"project_path": str(project.root), "query": "retry"}
    many = ["*?*?*?*.py", "**/*_*_*.py", "a/*/b/*/c/*/d/*/*.py", "*_*_*_*_*_*_*_*.rs", "**/" * 60]
    found = service.exposed_query(**arguments, paths=many)["results"]
    assert found[0]["path"] == "net/retry.py"
    names = [f"file{number}.py" for number in range(900)]
    found = service.exposed_query(**arguments, paths=["net/retry.py", *names, *["*.py"] * 24])
    assert found["results"][0]["path"] == "net/retry.py"
    service.exposed_clear_cache()
    wide = [f"a?{number}" for number in range(5)]
    for globs, told in (
        (["*" + "a" * 4096], "4097 characters are too many"),
        (["*" + "a" * 2047, "*" + "b" * 2048], "more than 4096 characters in patterns with wild"),
        ([f"{'a' * 50}{number}" for number in range(1000)], "more than 16384 characters: name"),
        ([f"src/*.x{number}" for number in range(25)], "more than 24 endings (*.py) and"),
        (wide, "more than 4 names with several"),
    ):
        for name in ("paths", "exclude_paths"):
            said = refusal(service, "query", {**arguments, name: globs})
            assert said.startswith(f"{name}: {told}")
    said = refusal(service, "query", {**arguments, "paths": wide[:3], "exclude_paths": wide[3:]})
    assert said.startswith("paths and exclude_paths: more than 4 names with several")
