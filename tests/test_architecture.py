"""Who may import whom: each module reads only what stands below it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import cidx_ref

pytestmark = pytest.mark.once

ROOT = Path(cidx_ref.__file__).parent

#: The floors, from the ground up.  A module may import from lower floors, and from its own.
FLOORS = [
    ["_version", "cidx_ref", "errors", "interpreter", "processes", "runtime", "scratch", "steps"],
    [
        "braces",
        "columns",
        "globs",
        "limits",
        "locks",
        "reports",
        "results",
        "shown",
        "sockets",
        "typed",
        "wire",
    ],
    ["files"],
    ["places"],
    ["keys", "project"],
    ["mounts"],
    ["config"],
    ["index"],
    ["daemon"],
    ["backend"],
    ["launcher", "turns"],
    ["client", "progressbar"],
    ["terminal"],
    ["commands"],
    ["cli"],
    ["__main__"],
    ["testing"],
]

#: The one module of the package that may import each engine.
HOMES = {"rpyc": {"daemon.transport", "backend"}, "hnswlib": {"index.semantic"},
         "re2": {"index.pattern"},
         "tantivy": {"index.fulltext", "index.cidx.fulltext"}}  # fmt: skip

#: A module of one subject has at most so many lines.
MAX_LINES = 400
#: Those that are longer all the same.  The list only becomes shorter.
TOO_LONG: set[str] = set()

#: The heart, by the list that the mutation run goes by, too.
HEART = {
    path.removeprefix("cidx_ref/").removesuffix(".py").replace("/", ".")
    for path in tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))[
        "tool"
    ]["mutmut"]["only_mutate"]
}


@cache
def _modules() -> Mapping[str, Path]:
    paths = ROOT.rglob("*.py")
    return {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in paths}


@cache
def _imports(path: Path, *, for_types: bool = False) -> frozenset[str]:
    """Every module that `path` imports anywhere; not for type checking only, unless asked for."""
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types
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
    return frozenset(found)


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
    if name not in ("daemon.claim", "index.generation"):  # which know sockets, and files
        below = ("config", "errors", "runtime", "steps", "index.port")
        ground = {f"cidx_ref.{module}" for module in below}
        allowed = ground | {f"cidx_ref.{name}" for name in HEART}
        assert imported & {f"cidx_ref.{module}" for module in _modules()} <= allowed
    assert not {i.split(".")[0] for i in imported} & {"rpyc", "hnswlib", "tantivy", "numpy"}


def test_the_readme_names_each_part_of_the_heart() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    where_to_begin = readme[readme.index("## Reading the source") :]
    for name in HEART:
        assert f"`{name.rpartition('.')[2]}.py`" in where_to_begin, name


#: The floors within `testing`, from the ground up; "" is its public face.  Rooms on one floor do
#: not know each other.
HARNESS_FLOORS = [
    ["door", "ground", "plugin"],
    ["clock", "figures"],
    ["concurrency", "promises"],
    ["conformance"],
    ["judging", "load"],
    ["own"],
    [""],
]

#: The rooms of `testing` that are for any program, project or daemon.
FOR_ANY = ("concurrency", "promises", "conformance", "load")

#: The floors within `index.cidx`, which stands upon the rest of `index`.
CIDX_FLOORS = [
    ["beneath", "blobs", "forms", "hollow", "keeping", "meta", "near", "tree"],
    ["looks", "points", "said", "words"],
    ["rows"],
    ["catalogue"],
    ["fulltext"],
    ["check", "snapshot"],
    ["checking"],
    ["theirs", "vectorstore"],
]

#: The floors within `daemon` and `index`, from the ground up.  Those on one floor do not know each
#: other.
FLOORS_WITHIN = {
    "daemon": [
        [
            *["claim", "entry", "eviction", "gate", "health", "indexing", "installation", "log"],
            *["gitindex", "inotify", "looked", "memory", "relevance", "room", "semaphore"],
            *["singleflight"],
        ],
        ["cache", "gitstate"],
        ["beside", "freshness", "outside", "succession"],
        ["watched"],
        ["ledger"],
        ["watching"],
        ["watch"],
        ["served"],
        ["arguments", "framing", "proxy", "values"],
        ["told"],
        ["progress", "transport"],
        ["dispatch", "reserve"],
        ["accept"],
        ["report"],
        ["service"],
        ["server"],
        ["background"],
    ],
    "index": [
        [
            *["decode", "defaults", "filelist", "folders", "languages", "limited", "manifest"],
            *["pattern", "plan", "quotes", "recipe", "stems", "structure", "syntax"],
        ],
        ["above"],
        [
            *["codes", "headings", "heads_config", "heads_scripts", "heads_systems"],
            *["heads_typed", "heads_web", "heads_words", "layout", "patterns", "pythonic"],
        ],
        ["text"],
        ["asked", "pasted", "purpose"],
        ["keys"],
        ["outlines"],
        ["chunk"],
        ["gitdir", "gitrun", "unwritable"],
        [
            *[
                "analysis",
                "filters",
                "generated",
                "generation",
                "git",
                "graphs",
                "matching",
                "notebook",
            ],
            *["query", "seen", "semantic", "skipped"],
        ],
        ["attributes", "base", "ownignores", "vocabulary", "walk"],
        ["checkouts"],
        ["belongs"],
        ["definitions", "embed", "port", "scan", "storing", "ways"],
        ["asking", "embedders", "embedders.tensors", "embedders.web", "rank", "store"],
        ["embedders.model", "embedders.settings"],
        ["embedders.encoder", "embedders.service", "embedders.static"],
        ["embedders.sentence"],
        [
            *["changes", "child", "cutting", "filelines", "named", "segment", "spelling", "stale"],
            "watched",
        ],
        ["matches"],
        ["keeping", "links", "live", "loaded", "snippet", "writing"],
        ["builder", "fulltext", "holder", "lines", "nearest", "searched"],
        ["parallel", "phrases", "showing", "standing"],
        ["engines", "grep"],
        ["search"],
        ["snapshot"],
        ["adopt", "assembly", "source"],
        ["making", "merging"],
        ["build"],
        ["cidx", "ours", "worker"],
        *([f"cidx.{name}" for name in names] for names in CIDX_FLOORS),
        ["either"],
        ["adopting"],
        ["catalog"],
    ],
}


def _graph() -> dict[str, set[str]]:
    """The modules that each module of the package imports anywhere, for type checking too."""
    paths = {
        ".".join(("cidx_ref", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in ROOT.rglob("*.py")
    }
    graph: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                # What is imported from a package is one of its modules, or else its own.
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= {each if each in paths else node.module for each in inner}
        graph[name] &= paths.keys() - {name}
    return graph


def test_modules_do_not_import_each_other_in_circles() -> None:
    TopologicalSorter(_graph()).prepare()  # raises `CycleError`, with the circle in it


@pytest.mark.parametrize("folder", sorted(FLOORS_WITHIN))
def test_modules_know_only_those_of_their_folder_that_stand_below_them(folder: str) -> None:
    floors = {name: n for n, names in enumerate(FLOORS_WITHIN[folder]) for name in names}
    inside = f"cidx_ref.{folder}."
    graph = {name: imports for name, imports in _graph().items() if name.startswith(inside)}
    assert {name.removeprefix(inside) for name in graph} == floors.keys()
    wrong = [
        f"{name} imports {imported}"
        for name, imports in graph.items()
        for imported in imports & graph.keys()
        if floors[imported.removeprefix(inside)] >= floors[name.removeprefix(inside)]
    ]
    assert wrong == []


def _room(name: str) -> str:
    """The folder of `testing`, or the module in it, that `name` belongs to."""
    return ([*name.split("."), ""])[2]


def test_rooms_of_the_harness_know_only_what_stands_below_them() -> None:
    floors = {room: number for number, rooms in enumerate(HARNESS_FLOORS) for room in rooms}
    # `_ground` has copies, in the wheel of the kit alone.
    graph = {
        n: i
        for n, i in _graph().items()
        if n.startswith("cidx_ref.testing") and _room(n) != "_ground"
    }
    assert {_room(name) for name in graph} == floors.keys()
    wrong = [
        f"{name} imports {imported}"
        for name, imports in graph.items()
        for imported in imports & graph.keys()
        if _room(imported) != _room(name) and floors[_room(imported)] >= floors[_room(name)]
    ]
    assert wrong == []


@pytest.mark.parametrize("room", FOR_ANY)
def test_what_is_for_any_project_knows_nothing_of_our_daemon_and_index(room: str) -> None:
    ours = re.compile(r"cidx_ref\.(daemon|index)\b[\w.:]*")
    for path in (ROOT / "testing" / room).rglob("*.py"):
        imported = _imports(path, for_types=True)
        assert not [name for name in imported if ours.fullmatch(name)], path
        # Nor by name, to be imported later; prose may mention them.
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        named = [str(node.value) for node in nodes if isinstance(node, ast.Constant)]
        assert not [text for text in named if ours.fullmatch(text)], path


def test_the_kit_knows_the_rest_of_the_package_through_one_door() -> None:
    beside = {
        name.removeprefix("testing.")
        for name, path in _modules().items()
        if name.startswith("testing.")
        and not name.startswith(("testing.own.", "testing.ground"))
        and any(
            imported.startswith("cidx_ref.") and not imported.startswith("cidx_ref.testing")
            for imported in _imports(path, for_types=True)
        )
    }
    assert beside == set(), "take it from `cidx_ref.testing.ground`"


def test_every_module_says_what_belongs_in_it() -> None:
    for name, path in _modules().items():
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), name


def test_a_module_has_at_most_so_many_lines() -> None:
    long = {
        name
        for name, path in _modules().items()
        if not name.startswith("testing") and len(path.read_text("utf-8").splitlines()) > MAX_LINES
    }
    assert long - TOO_LONG == set(), "split these: each holds two subjects, perhaps"
    assert TOO_LONG - long == set(), "take these off the list"


def test_no_two_promises_share_an_id_and_every_public_name_is_importable() -> None:
    for name in cidx_ref.__all__:
        assert getattr(cidx_ref, name) is not None


#: What waits, or asks for the time, in ways that no test could hold still; and a lock in disguise.
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
    "functools.cached_property",
}


def test_a_lint_rule_keeps_time_and_threads_in_the_runtime_module() -> None:
    path = Path(__file__).parents[1] / "pyproject.toml"
    lint = tomllib.loads(path.read_text("utf-8"))["tool"]["ruff"]["lint"]
    assert set(lint["flake8-tidy-imports"]["banned-api"]) == BANNED
    excepted = {place for place, rules in lint["per-file-ignores"].items() if "TID251" in rules}
    assert {place for place in excepted if not place.startswith("tests/")} == {
        "cidx_ref/runtime.py",
        "cidx_ref/testing/concurrency/library/*",
    }
