"""The benchmark `ranking`: its questions, its marks, and how it treats archives from elsewhere."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import Any

import pytest
from ranking import documented
from ranking.__main__ import main
from ranking.documented import Documented, marks
from ranking.fetch import UnavailableError, fetched
from ranking.judge import distinct, ndcg
from ranking.questions import QUESTIONS, Question, Repository, faults, repositories
from ranking.tables import differences
from ranking.unpack import UnsafeArchiveError, unpack

pytestmark = pytest.mark.once

BENCHMARK = QUESTIONS.parent


def test_each_of_nineteen_languages_has_a_repository_to_choose_by_and_one_to_report() -> None:
    found = repositories()
    assert faults(found) == []
    assert Counter(repository.part for repository in found) == {"choose": 19, "report": 19}
    assert len({repository.language for repository in found}) == 19
    assert min(len(repository.questions) for repository in found) >= 12


def test_no_host_is_named() -> None:
    pages = [*BENCHMARK.rglob("*.py"), *BENCHMARK.rglob("*.toml")]
    assert len(pages) > 38
    assert [page for page in pages if "://" in page.read_text("utf-8")] == []


def sample(part: str = "choose", archive: str = "sample-1.0.tar.gz") -> Repository:
    """One that is well-formed."""
    asked = [
        Question(kind, f"{kind} {word} {word}" if kind != "name" else word, (f"{word}.py",), ())
        for kind in ("does", "built", "name")
        for word in ("alpha", "beta", "gamma", "delta")
    ]
    return Repository(
        id=f"sample-{part}", language="python", part=part, source="npm", name="sample",
        version="1.0", sha256="0" * 64, archive=archive, questions=tuple(asked),
    )  # fmt: skip


def broken(question: Question) -> dict[str, Any]:
    return {"questions": (question, *sample().questions[1:])}


@pytest.mark.parametrize(
    "change",
    [
        {"part": "both"},
        {"source": "elsewhere"},
        {"sha256": "0" * 63},
        {"name": "--registry=x"},
        {"version": "1.0; x"},
        {"archive": "../sample.tar.gz"},
        {"archive": "sample.zip"},
        {"questions": sample().questions[1:]},
        broken(sample().questions[1]),
        broken(Question("why", "why is it so", ("a.py",), ())),
        broken(Question("does", "what it does", (), ())),
        broken(Question("does", "what it does", ("a.py",), ("a.py",))),
        broken(Question("does", "what it does", ("/a.py",), ())),
        broken(Question("does", "what it does", ("a/../a.py",), ())),
        broken(Question("does", "what  it does", ("a.py",), ())),
        broken(Question("does", "what", ("a.py",), ())),
    ],
)
def test_what_is_wrong_with_a_question_file_is_said(change: dict[str, Any]) -> None:
    assert faults([sample("choose"), sample("report")]) == []
    assert faults([replace(sample("choose"), **change), sample("report")])


def test_a_language_with_one_half_only_is_a_fault() -> None:
    assert faults([sample("choose")])


SECOND = 1 / log2(3)


@pytest.mark.parametrize(
    ("ranked", "wanted", "mark"),
    [
        ("a b c", "a", 1),
        ("b a c", "a", SECOND),
        ("a b c", "a b", 1),
        ("b a c", "a b", 1),
        ("a c b", "a b", (1 + 1 / 2) / (1 + SECOND)),
        # A file counts at its first hit; hits of it after that only take places.
        ("a a b", "a b", (1 + 1 / 2) / (1 + SECOND)),
        ("a a a", "a", 1),
        ("x x x", "a", 0),
        ("", "a", 0),
        ("x x x x x x x x x a", "a", 1 / log2(11)),
        ("x x x x x x x x x x a", "a", 0),
        ("a b c d e f g h i j", "a b c d e f g h i j k l", 1),
    ],
)
def test_the_mark_of_a_ranking(ranked: str, wanted: str, mark: float) -> None:
    assert ndcg(ranked.split(), frozenset(wanted.split())) == pytest.approx(mark)


def test_among_files_a_file_takes_one_place() -> None:
    assert distinct(["a", "a", "b", "a", "c", "b"]) == ["a", "b", "c"]


def packed(path: Path, *members: tuple[str, str | bytes]) -> Path:
    """An archive of files, by their contents, and of links, which are strings."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def files_below(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if not path.is_dir())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("members", "files"),
    [
        ([("top/a.py", b"1"), ("top/b/c.py", b"2")], {"a.py": b"1", "b/c.py": b"2"}),
        ([("./top/a.py", b"1")], {"a.py": b"1"}),
        ([("a/b.py", b"1"), ("c.py", b"2")], {"a/b.py": b"1", "c.py": b"2"}),
        ([("a.py", b"1")], {"a.py": b"1"}),
    ],
)
def test_the_one_directory_that_all_lie_in_is_left_away(
    tmp_path: Path, members: list[tuple[str, bytes]], files: dict[str, bytes]
) -> None:
    unpack(packed(tmp_path / "x.tar.gz", *members), tmp_path / "tree")
    assert files_below(tmp_path / "tree") == files


@pytest.mark.parametrize("leads_to", ["..", "/", "a.py"])
def test_no_link_is_made_and_none_is_written_through(tmp_path: Path, leads_to: str) -> None:
    link, through = ("top/link", leads_to), ("top/link/evil", b"2")
    unpack(packed(tmp_path / "x.tar.gz", ("top/a.py", b"1"), link, through), tmp_path / "tree")
    assert files_below(tmp_path / "tree") == {"a.py": b"1", "link/evil": b"2"}
    assert not any(path.is_symlink() for path in (tmp_path / "tree").rglob("*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tree", "x.tar.gz"]


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "/evil", "top/.."])
def test_a_path_that_leads_outside_is_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    archive = packed(tmp_path / "x.tar.gz", ("top/a.py", b"1"), (name, b"2"))
    with pytest.raises(UnsafeArchiveError, match=r"\.\.|/evil"):
        unpack(archive, tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]


def test_what_is_too_large_damaged_or_contradicts_itself_is_refused(tmp_path: Path) -> None:
    large = packed(tmp_path / "large.tar.gz", ("a.py", b"1" * 600), ("b.py", b"1" * 600))
    with pytest.raises(UnsafeArchiveError, match="too large"):
        unpack(large, tmp_path / "tree", max_bytes=1000)
    unpack(large, tmp_path / "tree", max_bytes=1200)
    torn = tmp_path / "torn.tar.gz"
    torn.write_bytes(large.read_bytes()[:-20])
    with pytest.raises(UnsafeArchiveError):
        unpack(torn, tmp_path / "torn")
    both = packed(tmp_path / "both.tar.gz", ("top/a", b"1"), ("top/a/b", b"2"))
    with pytest.raises(UnsafeArchiveError):
        unpack(both, tmp_path / "both")


def npm_that_packs(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an `npm` before the one that may be there: it gives `archive`, whatever is asked for."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nfor each; do case $each in --pack-destination=*) cp "{archive}" '
        '"${each#*=}/";; esac; done\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")


def pinned(archive: Path) -> Repository:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return replace(sample(archive=archive.name), sha256=digest)


def test_an_archive_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / "sample-1.0.tar.gz", ("top/a.py", b"1"))
    repository, content = pinned(archive), archive.read_bytes()
    npm_that_packs(archive, tmp_path, monkeypatch)
    kept = fetched(repository, tmp_path / "cache")
    assert kept.read_bytes() == content
    archive.unlink()
    assert fetched(repository, tmp_path / "cache") == kept, "nothing was there to be fetched"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [archive.name]


def test_what_is_kept_but_was_changed_is_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "sample-1.0.tar.gz", ("top/a.py", b"1"))
    npm_that_packs(archive, tmp_path, monkeypatch)
    kept = fetched(pinned(archive), tmp_path / "cache")
    kept.write_bytes(b"other")
    assert fetched(pinned(archive), tmp_path / "cache").read_bytes() == archive.read_bytes()


def test_what_is_not_what_was_pinned_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "sample-1.0.tar.gz", ("top/a.py", b"1"))
    npm_that_packs(archive, tmp_path, monkeypatch)
    with pytest.raises(UnavailableError, match="pinned"):
        fetched(sample(), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_client_an_archive_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for source, client in (("npm", "npm"), ("debian", "apt-get")):
        with pytest.raises(UnavailableError, match=client):
            fetched(replace(sample(), source=source), tmp_path / "cache")


def write_questions(folder: Path, repository: Repository) -> None:
    lines = [
        f"{field} = {json.dumps(getattr(repository, field))}"
        for field in ("id", "language", "part", "source", "name", "version", "sha256", "archive")
    ]
    for question in repository.questions:
        lines += ["[[question]]", f'kind = "{question.kind}"', f'text = "{question.text}"']
        lines += [f"files = {json.dumps(question.files)}", "secondary = []"]
    path = folder / f"{repository.language}-{repository.id}.toml"
    path.write_text("\n".join(lines))


def test_a_run_says_what_was_skipped_and_how_it_differs_from_an_earlier_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("alpha", "beta", "gamma")  # the answers to "delta" are not there
    files = [(f"top/{word}.py", f"def {word}():\n    pass\n".encode()) for word in words]
    (tmp_path / "cache").mkdir()
    archive = packed(tmp_path / "cache" / "sample-1.0.tar.gz", *files)
    (tmp_path / "questions").mkdir()
    write_questions(tmp_path / "questions", pinned(archive))
    write_questions(tmp_path / "questions", sample("report", "gone-1.0.tar.gz"))
    monkeypatch.setenv("PATH", str(tmp_path))
    report = tmp_path / "reports" / "ranking.json"
    options = [f"--questions={tmp_path}/questions", f"--cache={tmp_path}/cache", f"--json={report}"]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert "choose: NDCG@10 by file, 1 of 1 repositories, 12 questions" in printed
    assert "report: NDCG@10 by file, 0 of 1 repositories" in printed
    assert "skipped sample-report: there is no npm" in printed
    assert "not in the index: sample-choose: delta.py" in printed
    marks = json.loads(report.read_text())
    for record in marks["questions"]:
        expected = 0 if "delta" in record["text"] else 1
        assert set(record["ndcg"]) == {"hybrid", "semantic", "fts", "bm25"}
        assert set(record["ndcg"].values()) == {expected}
    assert main([*options, "--part=choose", f"--beside={report}"]) == 0
    again = capsys.readouterr().out
    assert "report" not in again
    assert "choose: the difference on 12 questions" in again
    assert again.splitlines()[-1].split() == ["all", "12", *["+0.000"] * 4]


def test_the_difference_is_taken_on_what_both_runs_have() -> None:
    def run(**marks: dict[str, float]) -> dict[str, Any]:
        same = {"repository": "r", "language": "c", "part": "report", "kind": "does"}
        return {"questions": [{**same, "text": text, "ndcg": ndcg} for text, ndcg in marks.items()]}

    before = run(one={"hybrid": 0.5, "gone": 1}, two={"hybrid": 0.25, "gone": 1})
    now = run(one={"hybrid": 1, "new": 1}, two={"hybrid": 0.25, "new": 1}, three={"hybrid": 1})
    lines = differences(now, before).splitlines()
    assert lines[1] == "report: the difference on 2 questions"
    assert [line.split() for line in lines[2:]] == [
        ["questions", "hybrid"],
        ["c", "2", "+0.250"],
        ["does", "2", "+0.250"],
        ["all", "2", "+0.250"],
    ]


COMMENTED = {
    "jar.go": "package jar\n\n// Open lifts the lid of a jar.\nfunc Open() {\n\treturn\n}\n",
    "jar.js": "/**\n * Fill all jars up to the brim. Slowly.\n * @param {number} n\n */\n"
    "function pour(n) {\n  return n;\n}\n",
    "jar.rs": "/// Counts how many jars are left.\n#[inline]\nfn tally() -> u8 {\n    0\n}\n",
    "test_jar.js": "// Break each jar that is empty.\nfunction smash() {\n  return 1;\n}\n",
    "twice.c": "/* Wash the jar with hot water. */\nint soak(void)\n{\n  return 0;\n}\n\n"
    "/* Wash the jar with hot water. */\nint rinse(void)\n{\n  return 0;\n}\n",
    "short.c": "/* Drops it. */\nint drop(void)\n{\n  return 0;\n}\n",
    "named.c": "/* Call lift_lid to lift it. */\nint lift_lid(void)\n{\n  return 0;\n}\n",
}


def test_functions_are_asked_for_by_what_stood_above_them(tmp_path: Path) -> None:
    for name, text in COMMENTED.items():
        (tmp_path / name).write_text(text)
    found = sorted(documented.strip(tmp_path), key=lambda one: one.path)
    assert found == [
        ("lifts the lid of a jar.", "jar.go", 4),
        ("Fill all jars up to the brim.", "jar.js", 5),
        ("Counts how many jars are left.", "jar.rs", 3),
    ]
    left = "\n".join(path.read_text() for path in tmp_path.iterdir())
    assert not re.search("lid of|brim|left|hot water|Drops|empty", left)
    assert (tmp_path / "jar.js").read_text().split("\n")[4] == "function pour(n) {", "as it stood"


def test_a_function_is_found_by_a_hit_that_has_its_line() -> None:
    asked = [Documented("open", "a.c", 7), Documented("shut", "a.c", 30)]
    hits = {"open": [("b.c", 1, 9), ("a.c", 5, 9)], "shut": [("a.c", 5, 9), ("a.c", 31, 40)]}
    assert marks(asked, lambda text, limit: hits[text][:limit]) == (2, 0.25, 0.5)
    assert marks([], lambda text, limit: []) == (0, 0, 0)
