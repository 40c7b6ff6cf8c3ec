"""What it costs to check an index of the full cidx: each file is read once, and each shortcut says
what the long way says."""

from __future__ import annotations

import errno
import os
import random
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from theirs import adopted, asked

from cidx_ref.index import folders
from cidx_ref.index.chunk import Chunk
from cidx_ref.index.cidx import beneath, blobs, check, rows, snapshot
from cidx_ref.index.cidx.beneath import Beneath
from cidx_ref.index.cidx.hollow import hollowed
from cidx_ref.index.cidx.meta import DamagedError, parse_ids
from cidx_ref.index.pythonic import python_outline
from cidx_ref.index.semantic import SemanticIndex
from cidx_ref.index.structure import INNER, Definition, Outline
from cidx_ref.testing.own.cidx_format import id_index, write_index
from cidx_ref.testing.own.fixtures import git

pytestmark = pytest.mark.once

MANY = {f"f{n}.py": f"def first_{n}(call):\n    return call(word{n})\n" * 9 for n in range(12)}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file of the project, and of its points, has been opened."""
    seen: Counter[str] = Counter()
    find, open_ = folders.read_found, Beneath.open

    def read_found(folder: int, name: str, max_bytes: int) -> Any:
        seen[name] += 1
        return find(folder, name, max_bytes)

    def open_below(self: Beneath, path: str) -> int:
        seen[path.rpartition("/")[2]] += 1
        return open_(self, path)

    monkeypatch.setattr(folders, "read_found", read_found)
    monkeypatch.setattr(Beneath, "open", open_below)
    return seen


def test_each_file_is_read_once(tmp_path: Path, opened: Counter[str]) -> None:
    pieces = write_index(tmp_path, MANY, lines=8)
    adopted(tmp_path)
    assert {name for name in opened if name.endswith(".py")} == set(MANY)
    assert sum(name.startswith("vector_") for name in opened) == len(pieces)
    assert max(opened.values()) == 1


def test_versions_of_many_files_come_from_git_some_at_a_time(
    tmp_path: Path, opened: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_index(tmp_path, MANY, lines=8)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A", ".", ":!.code-indexer")
    git(tmp_path, "commit", "-qm", "one")
    for path in list(MANY)[::2]:
        (tmp_path / path).write_text("nothing = 1\n")
    asked_for: list[int] = []
    read = blobs.Committed.read

    def counted(self: blobs.Committed, hashes: Any) -> Any:
        asked_for.append(len(hashes))
        return read(self, hashes)

    monkeypatch.setattr(blobs.Committed, "read", counted)
    monkeypatch.setattr(check, "_AT_ONCE_BYTES", 1000)
    index = adopted(tmp_path)
    assert len(asked_for) > 2
    assert sum(asked_for) == len(MANY) / 2
    assert opened["f0.py"] == opened["f1.py"] == 1
    assert index.describe()["left_out"] == 0
    loaded = index.load(index.current())
    found = asked(loaded, "first_4(call):", "semantic")["results"]
    assert any(hit["path"] == "f4.py" and hit["stale"] for hit in found)
    paths = [loaded.chunks.file(n).path for n in range(loaded.chunks.file_count)]
    assert paths == sorted(paths)
    loaded.close()


def test_git_is_not_asked_again_once_it_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    tried: list[int] = []

    def fail(*_: Any) -> Iterator[Any]:
        tried.append(1)
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(blobs.Committed, "_read_from", fail)
    committed = blobs.Committed(tmp_path)
    for _ in range(3):
        assert committed.read(["0" * 40]) == {}
    assert tried == [1]


# Opening a point.


def _forbidden(code: int) -> Any:
    def call(folder: int, path: bytes, flags: int) -> int:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize("call", [None, _forbidden(errno.ENOSYS), _forbidden(errno.EPERM)])
def test_a_point_is_opened_through_no_link(tmp_path: Path, call: Any) -> None:
    """With the kernel's one call for it, and where that is not to be had."""
    folder = tmp_path / "aa" / "bb"
    folder.mkdir(parents=True)
    (folder / "point").write_bytes(b"one")
    (folder / "link").symlink_to("point")
    os.mkfifo(folder / "fifo")
    (tmp_path / "away").symlink_to("aa")
    with closing(Beneath(tmp_path, call)) as below:
        for _ in range(2):
            fd = below.open("aa/bb/point")
            assert os.read(fd, 9) == b"one"
            os.close(fd)
        os.close(below.open("aa/bb/fifo"))  # without waiting for a writer
        for path, code in [
            ("aa/bb/link", errno.ELOOP),
            ("away/bb/point", errno.ELOOP),
            ("aa/none", errno.ENOENT),
            ("aa/bb/point/x", errno.ENOTDIR),
        ]:
            with pytest.raises(OSError) as caught:
                below.open(path)
            assert caught.value.errno == code, path


def test_this_machine_has_the_one_call() -> None:
    """Else the test above has tried one way only, three times."""
    call = beneath._openat2()
    assert call is not None
    root = os.open("/", os.O_PATH)
    try:
        os.close(call(root, b"proc", os.O_RDONLY))
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        pytest.skip("no openat2 here")
    finally:
        os.close(root)


@pytest.mark.promise("TRUST-2")
@pytest.mark.parametrize("odd", ["", ".", "..", "a//b", "/a", "a/", "a/./b", "a/..", "a\0b"])
def test_a_path_of_a_point_that_leads_elsewhere_is_not_taken(odd: str) -> None:
    assert parse_ids(id_index([("one", "a/b.c"), ("two", "..a/b..")])) == {
        "one": "a/b.c", "two": "..a/b..",
    }  # fmt: skip
    for place in range(3):
        entries = [(str(n), odd if n == place else f"aa/{n}") for n in range(3)]
        with pytest.raises(DamagedError, match="elsewhere"):
            parse_ids(id_index(entries))


# Names.

#: Where the text of a function, or its end, is not what it looks like.
TRICKY = [
    "def f():\n    pass\n",
    "class A:\n    x: int = 1\n\n    @one\n    # why\n    async def f(self):\n        return\n#\n",
    "y, (z, *w) = 1, (2, 3)\n\n\nclass B(A): pass\n\ndef f():\n    return\n  # after\n\n\nx = 1\n",
    "def f(\n    a,\n    b=(1,\n       2),\n) -> int:\n    return a\n\n\nx = 1\n",
    "class A:\n    def f(self, a,\n          b):\n        if a:\n            return b\n\n    x = 1",
    "def f(a): return {a:\n        1,\n    2:\n        3}\n\n\nx = 1\n",
    "def f(a): return g(a,\n    lambda:\n        1)\n\n\nx = 1\n",
    "def f(a): return a\ndef g():  # why\n    return f\n\nif x:\n    def h():\n        y = 1\n",
    'def f():\n    s = """\nx = 1\ndef g():\n    pass\n"""\n    return s\n\n\ny = 2\n',
    'def f():\n    s = """\nx = 1\n"""\n\n\ndef g():\n    t = """\ny = 1\n"""\n',
    "S = '''\ndef f():\n    one\n    two'''\n\n\ndef g():\n    pass\n",
    "def f():\n    '''def g():'''\n    def h():\n        pass\n\n    return h\n# end\nx = 1\n",
    "def f():\n    return g(\n        1\n)\n\n\nx = 1\n",
    "def f():\n\tif 1:\n\t\treturn 2\n\n\n\tdef g():\n\t\tpass\nx = 1",
    "def f():\n    x = 1 + \\\n2\n    return x\ny = 2\n",
    'def f():\n    assert g(1) == \\\n"""\nx = 1\n"""\n\n\ny = 2\n',
    "def f():\n    # nothing but words\n\n\nx = 1\n",
    "class A:\n  def f(self):\n    1\n   # deeper\n  def g(self): pass\n\n  x = y = 3\n",
    "try:\n    import a\nexcept ImportError:\n    def a():\n        return None\n\n    b = 1\n",
    "def f():\n    'x' 'y'\n    '''a''' '''b\nc'''\n\ndef g():\n    1\n",
]


def same_outline(text: str) -> None:
    lines = text.removesuffix("\n").split("\n")
    short = hollowed(text)
    assert short.count("\n") == text.count("\n")
    found, whole = python_outline(short, lines), python_outline(text, lines)
    if found is None:
        return  # what is no Python without the text of its functions is looked at as it is
    assert whole is not None
    assert found.definitions == whole.definitions
    own = [each for each in whole.names if not each[1].startswith(INNER)]
    assert [each for each in found.names if not each[1].startswith(INNER)] == own


@pytest.mark.parametrize("text", TRICKY)
def test_without_what_stands_in_functions_a_file_has_the_same_outline(text: str) -> None:
    same_outline(text)


def test_few_texts_are_no_python_without_what_stands_in_functions() -> None:
    found = [python_outline(hollowed(text), text.split("\n")) for text in TRICKY]
    assert found.count(None) <= 4, "else all of it is parsed twice"


def test_most_functions_are_hollow() -> None:
    """So that it is worth it: by characters, nine of ten are not parsed."""
    path = Path(sysconfig.get_path("stdlib"), "argparse.py")
    text = path.read_text("utf-8")
    short = hollowed(text)
    assert len(short) < len(text) / 3
    assert python_outline(short, text.split("\n")) is not None


@pytest.mark.deep
def test_files_of_the_standard_library_have_the_same_outline_hollow() -> None:
    tried = others = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        lines = text.removesuffix("\n").split("\n")
        whole, short = python_outline(text, lines), python_outline(hollowed(text), lines)
        if whole is not None and short is not None:
            tried += 1
            others += short != whole
    assert tried > 300
    assert others * 500 < tried, "a string that looks like functions, on both sides of one"


@pytest.mark.deep
def test_to_hollow_a_text_takes_time_that_is_linear_in_it() -> None:
    """Where it is the square, each of these takes minutes."""
    deep = "".join(f"{' ' * n}def f(\n" for n in range(4000))  # none ends, each is in all before
    comments = "def f():\n" + "  # why\n" * 300_000
    blanks = "def f(" + ":" * 300_000 + "\n" + " " * 300_000 + "\n" * 300_000
    for text in (deep, comments, blanks):
        began = time.process_time()
        assert hollowed(text) == text
        assert time.process_time() - began < 5


def plainly(outline: Outline, start: int, end: int) -> Definition | None:
    around = [d for d in outline.definitions if d.start <= start and end <= d.end]
    begun = [d for d in outline.definitions if start <= d.start < end]
    return min(around, key=lambda d: d.end - d.start) if around else next(iter(begun), None)


def test_a_piece_is_called_as_a_look_at_all_definitions_says() -> None:
    rng = random.Random(4)
    for _ in range(200):
        spans: set[tuple[int, int]] = set()
        _nested(rng, 0, 60, spans)
        every = [Definition(f"d{n}", "class", *span)
                 for n, span in enumerate(sorted(spans, key=lambda s: (s[0], -s[1])))]  # fmt: skip
        around = rows._Around(every)
        for _ in range(30):
            start = rng.randrange(60)
            end = rng.randrange(start + 1, 62)
            expected = plainly(Outline(every, []), start, end)
            assert around.best((start, end)) == expected


def _nested(rng: random.Random, first: int, last: int, spans: set[tuple[int, int]]) -> None:
    at = first
    while at < last:
        end = rng.randrange(at + 1, last + 1)
        if rng.random() < 0.7:
            spans.add((at, end))
            if end - at > 2:
                _nested(rng, at + rng.randrange(2), end, spans)
        at = end


# Documents.


def test_of_many_documents_of_the_same_lines_each_is_compared_with_few_points(
    tmp_path: Path,
) -> None:
    version = rows.Version("", "")
    made = rows.FileRows("a.py", "python", version)
    compared: list[int] = []

    class Text(str):
        def __contains__(self, other: object) -> bool:
            compared.append(1)
            return str.__contains__(self, str(other))

    for number in range(500):
        made.chunks.append(Chunk("", 1, 2, Text(f"one {number}")))
        made.labels.append((number, number))
        made.by_lines.setdefault((1, 2), []).append(number)
    assert rows._joined(made, rows.Document(0, "a.py", 1, 2, "one 3"))
    assert not rows._joined(made, rows.Document(1, "a.py", 1, 2, "two"))
    assert not rows._joined(made, rows.Document(2, "a.py", 1, 3, "one"))
    assert len(compared) < 40


def test_many_documents_of_a_word_do_not_have_the_whole_file_looked_through() -> None:
    joined: list[int] = []

    class Lines(list[str]):
        def __getitem__(self, place: Any) -> Any:
            found = super().__getitem__(place)
            if isinstance(place, slice):
                joined.append(len(found))
            return found

    text = "".join(f"value_{n} = {n}\n" for n in range(5000))
    version = rows.Version(text, "digest", lines=Lines(text.split("\n")[:-1]))
    assert version.size_of(1, 2) == len("value_0 = 0\nvalue_1 = 1")
    assert version.size_of(1, 5000) == len(text) - 1
    for _ in range(100):
        assert not rows._holds(version, 1, 5000, "value_7")
    assert joined == []
    assert rows._holds(version, 8, 9, "value_7 = 7\n")
    assert not rows._holds(version, 9, 10, "value_7 = 7")
    assert joined == [2, 2]


def test_a_graph_is_in_memory_before_an_engine_keeps_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_index(tmp_path, MANY, lines=8)
    index = adopted(tmp_path)
    read: list[int] = []
    seen: list[int] = []
    preadv, semantic = os.preadv, SemanticIndex

    def counted(fd: int, buffers: Any, at: int) -> int:
        found = preadv(fd, buffers, at)
        read.append(found)
        return found

    def loaded(path: Path, **options: Any) -> Any:
        seen.append(sum(read) - path.stat().st_size)
        return semantic(path, **options)

    monkeypatch.setattr(os, "preadv", counted)
    monkeypatch.setattr(snapshot, "_BLOCK_BYTES", 4096)
    monkeypatch.setattr(snapshot, "SemanticIndex", loaded)
    index.load(index.current()).close()
    assert seen == [0]
    assert len(read) > 2, "some at a time"
