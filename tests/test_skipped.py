"""What an index run leaves out is told, path and reason, to the shell, to Python and by status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.cli import main
from cidx_ref.client import DaemonClient
from cidx_ref.index import build
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.skipped import (
    MAX_FILES,
    SkippedFiles,
    read_skipped,
    save_skipped,
)
from cidx_ref.keys import Key, account_key
from cidx_ref.project import Project
from cidx_ref.terminal import skipped_lines
from cidx_ref.testing.own.fixtures import MakeProject, served

pytestmark = pytest.mark.once

NOTHING: dict[str, Any] = {"counts": {}, "files": []}
KEY = Key(b"k" * 32)


@pytest.fixture
def mixed(make_project: MakeProject) -> Project:
    project = make_project(
        {"a.py": "def quokka(): pass\n", "b.bin": "\0", "big.txt": "word " * 300_000}
    )
    (project.root / "link.py").symlink_to("a.py")
    return project


MIXED = [("b.bin", "binary"), ("big.txt", "too large"), ("link.py", "symlink")]


@pytest.mark.promise("OBS-1")
def test_the_shell_python_and_status_tell_what_was_left_out(
    mixed: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(mixed), DaemonClient(mixed, start=False) as client:
        assert client.skipped() == NOTHING
        assert client.status()["skipped"] == {}
        assert main(["index", "--skipped", "--project", str(mixed.root)]) == 0
        summary, *lines = capsys.readouterr().out.splitlines()
        assert summary.endswith("; skipped: 1 binary, 1 symlink, 1 too large")
        assert sorted(lines) == [f"{path}: {reason}" for path, reason in MIXED]
        counts = {"binary": 1, "symlink": 1, "too large": 1}
        assert client.skipped() == {
            "counts": counts,
            "files": [{"path": path, "reason": reason} for path, reason in MIXED],
        }
        assert client.status()["skipped"] == counts


def test_the_list_is_told_without_a_run_and_what_is_rare_comes_first(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"{number}.bin": "\0" for number in range(3)}
    project = make_project({"a.py": "def quokka(): pass\n", "z/yarn.lock": "", **files})
    where = ["--project", str(project.root)]
    with served(project):
        assert main(["index", *where]) == 0
        (project.root / "later.bin").write_bytes(b"\0")
        capsys.readouterr()
        assert main(["skipped", *where]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines == ["z/yarn.lock: lock file", *(f"{n}.bin: binary" for n in range(3))]
        assert main(["skipped", "--json", *where]) == 0
        assert json.loads(capsys.readouterr().out)["counts"] == {"binary": 3, "lock file": 1}


def test_without_the_option_the_exit_line_is_one_line(
    mixed: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(mixed):
        assert main(["index", "--project", str(mixed.root)]) == 0
        assert capsys.readouterr().out.count("\n") == 1
        assert main(["index", "--json", "--project", str(mixed.root)]) == 0
        assert "skipped_files" not in json.loads(capsys.readouterr().out)
        assert main(["index", "--json", "--skipped", "--project", str(mixed.root)]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [(file["path"], file["reason"]) for file in told["skipped_files"]] == MIXED


@pytest.mark.promise("OBS-1")
def test_the_list_is_of_the_last_run_also_where_nothing_was_built(mixed: Project) -> None:
    first = bring_up_to_date(mixed, HashingEmbedder())
    (mixed.root / "b.bin").unlink()
    (mixed.root / "c.bin").write_bytes(b"\0")
    again = bring_up_to_date(mixed, HashingEmbedder())
    assert again["generation"] == first["generation"]
    paths = [file["path"] for file in read_skipped(mixed, account_key())["files"]]
    assert paths == ["big.txt", "c.bin", "link.py"]


def test_a_list_that_has_not_changed_is_not_written_again(project: Project) -> None:
    skipped = SkippedFiles()
    skipped.add("b.bin", "binary")
    save_skipped(project, skipped.as_dict(), KEY)
    inode = (project.directory / "skipped.json").stat().st_ino
    save_skipped(project, skipped.as_dict(), KEY)
    assert (project.directory / "skipped.json").stat().st_ino == inode


def test_everything_is_counted_and_a_bounded_number_listed(project: Project) -> None:
    skipped = SkippedFiles()
    for number in range(MAX_FILES + 7):
        skipped.add(f"{number:05}.bin", "binary")
    told = skipped.as_dict()
    assert (told["counts"], len(told["files"])) == ({"binary": MAX_FILES + 7}, MAX_FILES)
    save_skipped(project, told, KEY)
    assert read_skipped(project, KEY) == told


@pytest.mark.parametrize("char", ["\udcff", "\U0001f600"])
def test_the_longest_names_are_bounded_and_can_be_read_again(project: Project, char: str) -> None:
    skipped = SkippedFiles()
    for number in range(1000):
        skipped.add(char * 4000 + str(number), "binary")  # up to twelve characters of JSON each
    told = skipped.as_dict()
    assert told["counts"] == {"binary": 1000}
    assert 0 < len(told["files"]) < 1000
    save_skipped(project, told, KEY)
    assert read_skipped(project, KEY) == told


def test_the_shell_says_how_many_more_there_are() -> None:
    told = {"counts": {"binary": 9}, "files": [{"path": "a\x1b[31m\n", "reason": "binary"}]}
    assert list(skipped_lines(told)) == ["a\\x1b[31m\\n: binary", "and 8 more"]  # type: ignore[arg-type]


@pytest.mark.promise("TRUST-1")
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"skipped": 1}',
        b'{"skipped": {"counts": {"x": 1}, "files": []}}',
        b'{"skipped": {"counts": {"x": 1}, "files": []}, "digest": "00"}',
        b"[" * 100_000,
        b" " * (1 << 24),
    ],
    ids=["empty", "a list", "a number", "no digest", "another's digest", "deep", "large"],
)
def test_a_list_that_came_with_a_clone_is_not_told(project: Project, text: bytes) -> None:
    (project.directory / "skipped.json").write_bytes(text)
    assert read_skipped(project, KEY) == NOTHING


@pytest.mark.promise("TRUST-1")
def test_nor_is_a_link_followed(project: Project, tmp_path: Path) -> None:
    save_skipped(project, {"counts": {"x": 1}, "files": []}, KEY)
    (project.directory / "skipped.json").rename(tmp_path / "elsewhere.json")
    (project.directory / "skipped.json").symlink_to(tmp_path / "elsewhere.json")
    assert read_skipped(project, KEY) == NOTHING


@pytest.mark.promise("WRITE-3")
def test_an_index_that_is_live_is_told_though_the_list_cannot_be_kept(
    mixed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "skipped.json")

    monkeypatch.setattr(build, "save_skipped", full)
    report = bring_up_to_date(mixed, HashingEmbedder())
    assert report["changed"]
    assert report["notes"] == [
        "the list of skipped files was not kept: skipped.json: No space left on device"
    ]


@pytest.mark.promise("OBS-1")
def test_a_file_that_is_looked_at_twice_in_a_run_is_counted_once(mixed: Project) -> None:
    bring_up_to_date(mixed, HashingEmbedder())
    (mixed.root / "z.py").write_text("def quagga(): pass\n")  # the last: then all are read again
    report = bring_up_to_date(mixed, HashingEmbedder())
    assert report["changed"]
    assert report["skipped"] == {"binary": 1, "too large": 1, "symlink": 1}
    assert len(read_skipped(mixed, account_key())["files"]) == 3
