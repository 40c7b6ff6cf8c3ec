"""Configurations: their keys are names, which come after what code calls so, and data has none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from textwrap import dedent

import pytest
from loaded import loaded_of

from cidx_ref.index.chunk import chunk
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.keys import KEYED
from cidx_ref.index.languages import told_by
from cidx_ref.index.port import Search
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.structure import INNER, OWNER

pytestmark = pytest.mark.once

EMBEDDER = HashingEmbedder()


def _text(text: str) -> str:
    return dedent(text).lstrip("\n")


#: By path, a configuration, its sections as "name first-last", and its other keys.
CONFIGURATIONS = {
    ".github/workflows/ci.yml": (
        """
        name: CI  # short
        on: [push]
        # What is done.
        jobs:
          # Builds it.
          build-all:
            runs-on: linux
            steps:
              - run: |
                  make: all

          'lint':
            runs-on: linux
          timeout: 3
        text: |
          not: a key
        list:
          - no: key
        last: 1
        """,
        "jobs 3-14, jobs.build-all 5-11, jobs.lint 12-13, list 17-18",
        "name on jobs build-all lint timeout text list last",
    ),
    "pyproject.toml": (
        """
        top = 1
        [project]
        name = "box"
        keywords = [
            "a",
        ]

        # How it is linted.
        [tool.ruff.lint]
        extend-select = ["E"]  # more

        [[tool.mypy.overrides]]
        "quoted" = 1
        """,
        "project 2-7, tool.ruff.lint 8-11, tool.mypy.overrides 12-14",
        "top project name keywords lint extend-select overrides quoted",
    ),
    "setup.cfg": (
        """
        [options.entry_points]
        console_scripts =
            box = box.cli:main
        [tool:pytest]
        addopts: -q
        ; no = key
        """,
        "options.entry_points 1-3, tool:pytest 4-7",
        "entry_points console_scripts pytest addopts",
    ),
    "package.json": (
        """
        {
          "name": "box",
          "scripts": {
            "build:all": "tsc",
            "lint": {
              "deep": "no"
            }
          },
          "devDependencies": {
            "lodash": "^4"
          }
        }
        """,
        "scripts 3-8, scripts.lint 5-8, devDependencies 9-13",
        "name scripts build:all lint devDependencies",
    ),
}


def _definitions(path: str, text: str) -> tuple[str, list[str]]:
    from cidx_ref.index.outlines import outline_of

    language = told_by(path, text)
    found = outline_of(language, text, text.split("\n"), path)
    assert found is not None
    assert {each.kind for each in found.definitions} <= {"section"}
    assert {name[: len(INNER)] for _, name in found.names} <= {INNER}
    sections = ", ".join(f"{e.name} {e.start + 1}-{e.end}" for e in found.definitions)
    return sections, [name[1:] for _, name in found.names if not name.startswith(OWNER)]


@pytest.mark.parametrize("path", CONFIGURATIONS)
def test_sections_and_keys_of_two_levels_are_known(path: str) -> None:
    text, sections, keys = CONFIGURATIONS[path]
    assert _definitions(path, _text(text)) == (sections, keys.split())
    crlf = _text(text).replace("\n", "\r\n")
    assert _definitions(path, crlf) == (sections, keys.split())


@pytest.mark.parametrize(
    ("path", "text", "keys"),
    [
        ("a.toml", 'a = """\n[not.a]\nkey = 1\n"""\nb = 1\n', "a b"),
        ("a.toml", "a = '''\n[not.a]\n'''\nb = 1\n", "a b"),
        ("a.toml", 'a = """one""" # x\nb = """\nc = 1 """\nd = 1\n', "a b d"),
        ("a.toml", 'a = [\n  """\n[x]\n""",\n]\nb = 1 # """\nc = 1\n', "a b c"),
        ("a.toml", 'a = ["""\n[x]\n"""]\nb = "\'\'\'"\nc = 1\n', "a b c"),
        ("a.yml", "a: &anchor |\n  b: 1\nc: 1\n", "a c"),
        ("a.yml", "a: !!str |-\n  b: 1\nc: &x !!map\n  d: 1\n", "a c d"),
        ("a.yml", "a: \"one\n  two: 2\"\nb: 'one\n  two: 2'\nc: 1\n", "a b c"),
        ("a.yml", "a: one\n  two: 2\nb: # what\n  c: 1\n", "a b c"),
        ("a.yml", "a:\n  b: &x |\n    c: 1\n  d: 1\n", "a b d"),
        ("package.json", '{\n"a": {\n"b": "}",\n"c": {\n"d": 1\n}\n},\n"e": 1\n}', "a b c e"),
        ("package.json", '{\n  "a": "{ \\" {",\n"b": {\n\t "c": [\n]}, // {\n"d": 1\n}', "a b c d"),
    ],
)
def test_nothing_in_a_text_of_several_lines_is_a_key(path: str, text: str, keys: str) -> None:
    assert _definitions(path, text)[1] == keys.split()


def test_a_configuration_without_indentation_has_its_sections() -> None:
    text = _text(CONFIGURATIONS["package.json"][0])
    bare = "".join(line.lstrip() for line in text.splitlines(keepends=True))
    assert _definitions("package.json", bare) == _definitions("package.json", text)


def test_pieces_begin_at_sections_and_have_their_names() -> None:
    jobs = "".join(f"  job{n}:\n" + "    - run\n" * 30 for n in range(3))
    pieces = chunk(f"name: CI\njobs:\n{jobs}", "yaml", path="ci.yml")
    assert [(each.name, each.kind, each.line_start) for each in pieces][1:] == [
        (f"jobs.job{n}", "section", 31 * n + 3) for n in range(3)
    ]


MANY = "".join(f"key{n}: text {n}\n" for n in range(65))
BELOW = "de:\n" + "".join(f"  key{n}: text {n}\n" for n in range(129))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("config.yml", MANY),
        ("app.properties", MANY.replace(":", "=")),
        ("uv.toml", "".join(f"[[package{n}]]\na = 1\n" for n in range(65))),
        ("big.yml", "a:\n" + "  - b\n" * 2000),
        ("locales/de.yml", "de:\n  hello: Hallo\n"),
        ("poetry.lock", '[package]\nname = "a"\n'),
        ("pnpm-lock.yaml", "packages:\n  a: 1\n"),
        ("tests/fixtures/a.yml", "a:\n  b: 1\n"),
        ("third_party/x/a.yml", "a:\n  b: 1\n"),
        ("data.json", '{\n  "a": {\n    "b": 1\n  }\n}\n'),
        ("deploy.yml", "apiVersion: v1\nkind: Service\nspec:\n  ports: 1\n"),
    ],
)
def test_data_and_what_nobody_wrote_by_hand_define_nothing(path: str, text: str) -> None:
    pieces = chunk(text, told_by(path, text), path=path)
    assert [each.defines for each in pieces] == [()] * len(pieces)


def test_of_very_many_keys_below_others_none_is_a_name() -> None:
    assert _definitions("config.yml", BELOW) == ("de 1-131", ["de"])


@pytest.mark.parametrize("language", sorted(KEYED))
@pytest.mark.parametrize(
    "line", ["[%sx", "[a%sx", "a%sx", "a:%s#%s", '"a"%sx', "a = %s[%s", "a: &%s&%s"]
)
def test_no_line_of_blanks_takes_more_than_its_length(language: str, line: str) -> None:
    """Three times as long: nine times would be a square."""
    taken = []
    for width in (60, 180):
        lines = [line.replace("%s", " " * width)] * 300
        began = time.process_time()
        assert len(list(KEYED[language](lines))) in (0, 300)
        taken.append(time.process_time() - began)
    assert taken[1] < 8 * taken[0] + 0.05


@pytest.mark.parametrize(
    "head", ["[a]", "[ a ]", "[[a]]", "[ [a] ]", "[  a]  # b", "[ a ];b", "[[ ]]"]
)
def test_a_section_is_known_whatever_blanks_are_around_its_name(head: str) -> None:
    names = [] if head in ("[ [a] ]", "[[ ]]") else ["a"]
    assert [key.name for key in KEYED["toml"]([head])] == names


#: What defines a name in code, and in what configures and builds.
CODE = {
    "src/spin.py": "def spin_reel(n):\n    return n\n\n\nclass reel_size:\n    pass\n",
    "src/inner.py": "def outer(n):\n    def wind_all():\n        return n\n\n    return wind_all\n",
    "src/sprockets/turn_sprockets.py": "def turn_sprockets(sprockets):\n    return sprockets\n",
    "src/reel.go": "package reel\n\nfunc InstallReel(n int) int {\n\treturn n\n}\n",
}
SETTINGS = {
    "reel.yml": "spin_reel:\n  depth: 1\nreel_size: 3\nwind_all: 2\nlone_key: 1\nsprockets: 1\n",
    "ci.yml": "jobs:\n  knit-job:\n    runs-on: x\n  build:\n    runs-on: y\n",
    "compose.yml": "services:\n  build:\n    image: y\n  loom_db:\n    image: z\n",
    "pyproject.toml": "[tool.knitter]\nyarn-length = 3\n\n[tool.purler]\nyarn-width = 3\n",
    "Makefile": "wind_all: wind_all.o\n\tcp wind_all wind_all.bak\n\n"
    "InstallReel:\n\tcp x y\n\nunwind_all:\n\trm y\n",
    "CMakeLists.txt": "add_executable(spin_reel a.c)\nadd_library(reel_lib b.c)\n",
    "Dockerfile": "FROM a AS reel_size\nRUN b\n\nFROM c AS yarn_stage\nRUN d\n",
    "main.tf": 'resource "yarn_bucket" "skeins" {\n  a = 1\n}\n',
}


def _files() -> Iterator[tuple[str, str]]:
    yield from CODE.items()
    yield from SETTINGS.items()
    names = "spin_reel reel_size wind_all InstallReel lone_key loom_db unwind_all skeins build"
    for n in range(40):
        yield f"src/use/u{n}.py", "".join(f"use_{n}({name})\n" for name in names.split())
    for n in range(3000):
        yield f"noise/{n % 50}/n{n}.txt", f"thing {n} of {n * 7 % 311} and {n * 13 % 997}\n"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    with loaded_of(tmp_path_factory.mktemp("keys"), _files()) as snapshot:
        yield snapshot


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", ["hybrid", "fts"])
@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("lone_key", "reel.yml"),
        ("loom_db", "compose.yml"),
        ("services.build", "compose.yml"),
        ("jobs.build", "ci.yml"),
        ("jobs.knit-job", "ci.yml"),
        ("tool.knitter", "pyproject.toml"),
        ("[tool.purler]", "pyproject.toml"),
        ("yarn-width", "pyproject.toml"),
        ("unwind_all", "Makefile"),
        ("reel_lib", "CMakeLists.txt"),
        ("yarn_stage", "Dockerfile"),
        ("yarn_bucket.skeins", "main.tf"),
    ],
)
def test_a_key_is_found_by_its_name(
    snapshot: IndexSnapshot, asked: str, path: str, mode: str
) -> None:
    assert answer(snapshot, Search(asked, mode), EMBEDDER)["results"][0]["path"] == path


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", ["hybrid", "fts"])
@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("spin_reel", "src/spin.py"),
        ("reel_size", "src/spin.py"),
        ("wind_all", "src/inner.py"),
        ("InstallReel", "src/reel.go"),
        # A word that anybody may use, and nobody defines.
        ("sprockets", "src/sprockets/turn_sprockets.py"),
    ],
)
def test_what_code_calls_so_comes_before_any_key(
    snapshot: IndexSnapshot, asked: str, path: str, mode: str
) -> None:
    found = [hit["path"] for hit in answer(snapshot, Search(asked, mode), EMBEDDER)["results"]]
    assert found[0] == path
    assert any(each in SETTINGS for each in found[1:])
