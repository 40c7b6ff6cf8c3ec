"""Who may import whom: each module reads only what stands below it."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

import cidx_ref

ROOT = Path(cidx_ref.__file__).parent

#: The floors, from the ground up.  A module may import from lower floors, and from its own.
FLOORS = [
    ["cidx_ref", "errors", "runtime", "interpreter"],
    ["files", "limits", "results", "shown", "wire"],
    ["keys", "project", "sockets"],
    ["config"],
    ["index"],
    ["daemon"],
    ["client", "terminal"],
    ["cli"],
    ["__main__"],
    ["testing"],
]

#: The one module of the package that may import each engine.
HOMES = {"rpyc": {"daemon.transport", "client"}, "hnswlib": {"index.semantic"},
         "tantivy": {"index.fulltext"}}  # fmt: skip

#: What the heart must not know.
HEART = {"daemon.cache", "daemon.gate", "daemon.eviction", "daemon.health"}


def _modules() -> dict[str, Path]:
    paths = ROOT.rglob("*.py")
    return {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in paths}


def _imports(path: Path) -> set[str]:
    """Every module that `path` imports anywhere, but for type checking only."""
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _floor(name: str) -> int:
    top = name.split(".")[0]
    return next(number for number, names in enumerate(FLOORS) if top in names)


@pytest.mark.parametrize("name", sorted(_modules()))
def test_a_module_imports_only_what_stands_below_it(name: str) -> None:
    name = "cidx_ref" if name == "__init__" else name
    path = _modules()["__init__" if name == "cidx_ref" else name]
    own = [i.removeprefix("cidx_ref.") for i in _imports(path) if i.startswith("cidx_ref.")]
    known = [i for i in own if i in _modules() or (ROOT / i).is_dir()]
    for imported in known:
        assert _floor(imported) <= _floor(name), f"{name} imports {imported}"


@pytest.mark.parametrize("library", sorted(HOMES))
def test_each_engine_has_one_home(library: str) -> None:
    users = {
        name
        for name, path in _modules().items()
        if not name.startswith("testing")
        and any(i.split(".")[0] == library for i in _imports(path))
    }
    assert users == HOMES[library]


@pytest.mark.parametrize("name", sorted(HEART))
def test_the_heart_knows_neither_engine_nor_transport(name: str) -> None:
    imported = _imports(_modules()[name])
    allowed = {"cidx_ref.errors", "cidx_ref.runtime"}
    own = {i for i in imported if i.startswith("cidx_ref.") and i in {
        f"cidx_ref.{m}" for m in _modules()}}  # fmt: skip
    assert own <= allowed
    assert not {i.split(".")[0] for i in imported} & {"rpyc", "hnswlib", "tantivy", "numpy"}


def test_every_module_says_what_belongs_in_it() -> None:
    for name, path in _modules().items():
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), name


def test_no_two_promises_share_an_id_and_every_public_name_is_importable() -> None:
    for name in cidx_ref.__all__:
        assert getattr(cidx_ref, name) is not None


#: What waits, or asks for the time, in ways that no test could hold still.
BANNED = {
    "threading",
    "_thread",
    "concurrent.futures",
    "time.time",
    "time.monotonic",
    "time.sleep",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
}


def test_a_lint_rule_keeps_time_and_threads_in_the_runtime_module() -> None:
    path = Path(__file__).parents[1] / "pyproject.toml"
    lint = tomllib.loads(path.read_text("utf-8"))["tool"]["ruff"]["lint"]
    assert set(lint["flake8-tidy-imports"]["banned-api"]) == BANNED
    excepted = {place for place, rules in lint["per-file-ignores"].items() if "TID251" in rules}
    assert excepted == {"cidx_ref/runtime.py"}
