"""Whose index it is: the account's key, what carries its digest and what does not, and how an index
from elsewhere is checked before it is taken."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest
from segments import live, segment

from cidx_ref.cli import main
from cidx_ref.errors import IndexUnusableError, NoIndexError, UntrustedError
from cidx_ref.files import own_directory
from cidx_ref.index.adopt import _check_graph, adopt
from cidx_ref.index.analysis import terms_of_chunk
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.fulltext import FullTextWriter
from cidx_ref.index.live import key_of
from cidx_ref.index.manifest import read_manifest
from cidx_ref.index.source import GenerationSource
from cidx_ref.keys import KEY_BYTES, STATE_DIRECTORY, Key, account_key
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import MakeProject, build, served, write

pytestmark = pytest.mark.once

STRANGER = Key(b"stranger" * (KEY_BYTES // 8))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory that is not there yet."""
    path = tmp_path / "state" / "of" / "mine"
    monkeypatch.setenv(STATE_DIRECTORY, str(path))
    return path


@pytest.fixture
def foreign(make_project: MakeProject) -> Project:
    """The sample project, with an index that another account made."""
    project = make_project()
    bring_up_to_date(project, HashingEmbedder(), key=STRANGER)
    return project


@pytest.fixture
def foreign_segments(segmented: Project) -> Project:
    """The same in two segments of each kind."""
    forge(segmented, manifest_of(segmented))
    return segmented


def manifest_of(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((live(project) / "manifest.json").read_bytes())
    return found


def forge(project: Project, manifest: dict[str, Any]) -> None:
    """Write a manifest as a stranger would: right in all that needs no key of ours."""
    manifest = {name: value for name, value in manifest.items() if name != "digest"}
    for name, recorded in manifest["files"].items() if "files" in manifest else ():
        path = live(project) / name
        if isinstance(recorded, dict) and path.is_file():
            data = path.read_bytes()
            recorded |= {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["digest"] = STRANGER.digest(manifest)
    (live(project) / "manifest.json").write_text(json.dumps(manifest))


# The key.


@pytest.mark.promise("TRUST-2")
def test_the_key_is_made_once_and_for_its_owner_alone(state: Path) -> None:
    key = account_key()
    assert (key.problem, len(key.secret)) == (None, KEY_BYTES)
    assert account_key().secret == key.secret
    assert os.listdir(state) == ["key"]
    assert stat.S_IMODE((state / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


@pytest.mark.promise("TRUST-2")
def test_of_many_processes_that_need_the_first_key_at_once_all_have_the_same(state: Path) -> None:
    code = "from cidx_ref.keys import account_key; input(); print(account_key().secret.hex())"
    command = [sys.executable, "-P", "-c", code]
    pipe = subprocess.PIPE
    starters = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(8)]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("\n")
        starter.stdin.flush()
    keys = {starter.communicate(timeout=30)[0] for starter in starters}
    assert keys == {f"{account_key().secret.hex()}\n"}
    assert os.listdir(state) == ["key"]


def others_can_read_it(state: Path) -> None:
    (state / "key").chmod(0o640)


def it_is_cut_off(state: Path) -> None:
    (state / "key").write_bytes(b"short")


def it_is_a_link(state: Path) -> None:
    (state / "key").rename(state / "elsewhere")
    (state / "key").symlink_to("elsewhere")


def it_is_a_directory(state: Path) -> None:
    (state / "key").unlink()
    (state / "key").mkdir()


def a_file_is_in_the_way(state: Path) -> None:
    shutil.rmtree(state)
    state.write_text("")


@pytest.mark.promise("TRUST-2", "OBS-1")
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (others_can_read_it, "key can be read or written by other users: remove it"),
        (it_is_cut_off, r"key is no key \(5 bytes\): remove it"),
        (it_is_a_link, "key is a symbolic link"),
        (it_is_a_directory, "key is a directory"),
        (a_file_is_in_the_way, "File exists"),
    ],
)
def test_where_no_key_can_be_kept_the_daemon_has_one_for_its_life_and_says_so(
    make_project: MakeProject, state: Path, spoil: Callable[[Path], None], told: str
) -> None:
    account_key()
    spoil(state)
    key = account_key()
    assert key.problem is not None
    assert re.search(told, key.problem)
    assert account_key().secret == key.secret, "it is the same for all of the process"
    project = make_project()
    with served(project) as service:
        report = service.exposed_index(str(project.root))
        (note,) = report["notes"]
        assert key.problem in note
        assert STATE_DIRECTORY in note
        assert service.exposed_query_fts(str(project.root), "retry")["results"]
        assert service.exposed_get_status()["key_problem"] == key.problem
    with pytest.raises(UntrustedError, match="would be forgotten"):
        adopt(project)


@pytest.mark.promise("TRUST-2")
def test_the_key_lies_where_the_variables_say_and_home_is_the_account_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv(STATE_DIRECTORY, str(tmp_path / "named"))
    account_key()
    assert (tmp_path / "named" / "key").exists()
    monkeypatch.delenv(STATE_DIRECTORY)
    account_key()
    assert (tmp_path / "xdg" / "cidx-ref" / "key").exists()


@pytest.mark.promise("TRUST-3")
def test_what_is_made_is_for_its_owner_alone_whatever_the_umask(
    make_project: MakeProject,
) -> None:
    project = make_project()
    umask = os.umask(0)
    try:
        build(project)
        with served(project) as service:
            service.exposed_query(str(project.root), "retry")
            found = {path: path.lstat().st_mode for path in project.directory.rglob("*")}
    finally:
        os.umask(umask)
    found[project.directory] = project.directory.stat().st_mode
    for path, mode in found.items():
        wanted = 0o700 if stat.S_ISDIR(mode) else 0o600
        assert stat.S_ISLNK(mode) or stat.S_IMODE(mode) == wanted, path


# What does not verify.


@pytest.mark.promise("TRUST-2")
def test_an_index_of_another_account_is_not_loaded_and_said_to_be_one(foreign: Project) -> None:
    source = GenerationSource(foreign.generations, HashingEmbedder())
    with pytest.raises(NoIndexError, match=r"was not made by this account.*`cidx-ref adopt`"):
        source.load(source.current())
    theirs = GenerationSource(foreign.generations, HashingEmbedder(), key=STRANGER)
    theirs.load(theirs.current()).close()


@pytest.mark.promise("TRUST-2")
def test_a_query_builds_ours_beside_it_and_only_an_index_run_removes_it(
    foreign: Project, running: Callable[[Project], int], capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = live(foreign).name
    running(foreign)
    project = ("--project", str(foreign.root))
    assert main(["query", "--no-build", "retry", *project]) == 2
    assert "was not made by this account" in capsys.readouterr().err
    assert main(["status", *project]) == 0
    assert "index_problem: the index here" in capsys.readouterr().out
    assert main(["query", "retry", *project]) == 0
    ours = live(foreign).name
    assert (foreign.generations / theirs).is_dir(), "a query has swept it"
    assert main(["clear-cache", *project]) == 0
    assert (foreign.generations / theirs).is_dir(), "a sweep after a load has swept it"
    capsys.readouterr()
    assert main(["index", *project]) == 0
    assert f"removed, not signed by this account: {theirs}" in capsys.readouterr().out
    assert sorted(os.listdir(foreign.generations)) == [ours, "current"]


@pytest.mark.promise("TRUST-2")
def test_a_moved_project_keeps_its_index(project: Project, tmp_path: Path) -> None:
    moved = Project(project.root.rename(tmp_path / "moved"))
    source = GenerationSource(moved.generations, HashingEmbedder())
    source.load(source.current()).close()


@pytest.mark.promise("TRUST-2")
def test_an_older_generation_under_a_newer_one_s_name_is_refused(project: Project) -> None:
    old = live(project)
    (project.root / "new.py").write_text("def new(): pass\n")
    build(project)
    new = live(project)
    shutil.copytree(project.generations / new.name, project.generations / "000009-aaaaaa")
    (project.generations / "current").unlink()
    (project.generations / "current").symlink_to("000009-aaaaaa")
    source = GenerationSource(project.generations, HashingEmbedder())
    with pytest.raises(NoIndexError, match=f"manifest.json: generation: '{new.name}'"):
        source.load(source.current())
    assert old.name != new.name


def mutations(value: Any, at: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every field of `value`, with values of other types and out of its range."""
    found: list[tuple[tuple[str, ...], Any]] = []
    if at:
        wrong: list[Any] = [None, True, -1, 1 << 60, 1.5, "x" * 5000, [], {}, "\n../../x"]
        found += [(at, other) for other in wrong if other != value]
    if isinstance(value, dict):
        for name, inner in value.items():
            found += mutations(inner, (*at, name))
    return found


def changed(value: Any, at: tuple[str, ...], other: Any) -> Any:
    copied = copy.deepcopy(value)
    inner = copied
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = other
    return copied


@pytest.mark.promise("TRUST-2", "WRITE-3")
def test_whatever_field_of_the_manifest_is_changed_it_is_refused_and_indexing_repairs_it(
    project: Project,
) -> None:
    whole = manifest_of(project)
    tried = mutations({**whole, "files": dict(list(whole["files"].items())[:2])})
    assert len(tried) > 120
    for at, other in tried:
        (live(project) / "manifest.json").write_text(json.dumps(changed(whole, at, other)))
        with pytest.raises(NoIndexError, match=r"was not made by this account|is of format"):
            read_manifest(live(project))
    damaged = live(project).name
    report = bring_up_to_date(project, HashingEmbedder())
    assert (report["changed"], report["removed"]) == (True, [damaged])
    read_manifest(live(project))


@pytest.mark.promise("TRUST-2", "WRITE-3")
@pytest.mark.parametrize("old", [b"[[", b'"net/', b'"python"', b"false", b"]]"])
def test_whatever_is_changed_in_files_json_is_named_and_repaired_by_indexing(
    project: Project, old: bytes
) -> None:
    path = segment(live(project)) / "files.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(old, old[:-1] + b"#", 1))
    assert path.read_bytes() != whole
    source = GenerationSource(project.generations, HashingEmbedder())
    with pytest.raises(IndexUnusableError, match=r"files\.json: wrong checksum"):
        source.load(source.current())
    assert bring_up_to_date(project, HashingEmbedder())["changed"]
    source.load(source.current()).close()


# Adopting.


@pytest.mark.promise("TRUST-2")
def test_an_index_that_is_right_is_adopted_and_answers(
    foreign: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = live(foreign).name
    assert main(["adopt", "--project", str(foreign.root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    ours = live(foreign).name
    assert told == {"generation": ours, "files": 4, "chunks": told["chunks"]}
    assert sorted(os.listdir(foreign.generations)) == [theirs, ours, "current"]
    with served(foreign) as service:
        hits = service.exposed_query(str(foreign.root), "retry when the peer disconnects")
        assert hits["results"][0]["path"] == "net/retry.py"
        assert not service.exposed_index(str(foreign.root))["changed"]


@pytest.mark.promise("TRUST-2")
def test_nothing_is_adopted_where_there_is_nothing(make_project: MakeProject) -> None:
    with pytest.raises(NoIndexError, match="no index to adopt"):
        adopt(make_project())


@pytest.mark.promise("TRUST-2")
def test_whatever_field_of_a_stranger_s_manifest_is_wrong_is_named(foreign: Project) -> None:
    whole = manifest_of(foreign)
    del whole["digest"]
    one = next(iter(whole["files"]))
    for at, other in mutations({**whole, "files": {one: whole["files"][one]}}):
        if at in (("embedder", "id"), ("space",)) and isinstance(other, str):
            continue  # any text will do: the search compares them
        if at == ("skipped",) and other == {}:
            continue
        forged = changed(whole, at, other)
        (live(foreign) / "manifest.json").write_text(
            json.dumps({**forged, "digest": STRANGER.digest(forged)})
        )
        with pytest.raises((NoIndexError, IndexUnusableError)) as refused:
            adopt(foreign)
        assert len(str(refused.value)) < 600
        assert "\n" not in str(refused.value)


def text_of_other_chunks(directory: Path) -> None:
    """The full text, whose files nobody can check, names chunks that are not there."""
    shutil.rmtree(directory / "fulltext")
    with (
        own_directory(directory) as opened,
        opened.make("fulltext") as inner,
        FullTextWriter(inner) as writer,
    ):
        for n in range(8):
            terms = terms_of_chunk("a.py", "a", "attackers_lure", ["a"])
            writer.add(key=key_of(999_999, n), file=999_999, terms=terms)
        writer.commit()


def more_in_a_segment(directory: Path) -> None:
    (directory / "more").write_text("")


def files_without_a_path(directory: Path) -> None:
    rows = json.loads((directory / "files.json").read_bytes())
    (directory / "files.json").write_text(json.dumps([[1, "a"], *rows[1:]]))


def set_in_file(column: int, value: Any) -> Callable[[Path], None]:
    """Change the entry of a segment's last file."""

    def spoil(directory: Path) -> None:
        path = directory / "files.json"
        rows = json.loads(path.read_bytes())
        rows[-1][column] = value
        path.write_text(json.dumps(rows))

    return spoil


def files_that_are_no_list(directory: Path) -> None:
    (directory / "files.json").write_text('{"a":' * 3000)


def one_more_file(directory: Path) -> None:
    path = directory / "files.json"
    rows = json.loads(path.read_bytes())
    path.write_text(json.dumps([*rows, [1, "a", "", "", False, 0]]))


def changed_rows(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def spoil(directory: Path) -> None:
        rows = np.load(directory / "chunks.npy")
        change(rows)
        np.save(directory / "chunks.npy", rows)

    return spoil


def set_row(name: str, value: int) -> Callable[[Path], None]:
    def change(rows: Any) -> None:
        rows[name][-1] = value

    return changed_rows(change)


def pickled_rows(directory: Path) -> None:
    np.save(directory / "chunks.npy", np.array([print, print], dtype=object), allow_pickle=True)


def other_rows(directory: Path) -> None:
    np.save(directory / "chunks.npy", np.zeros(5))


def texts_that_are_none(directory: Path) -> None:
    path = directory / "chunks.bin"
    data = path.read_bytes()  # after the name of the first chunk, a line end
    at = data.index(b"\n") + 1
    path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])


def no_line_end(directory: Path) -> None:
    path = directory / "chunks.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def half_the_texts(directory: Path) -> None:
    path = directory / "chunks.bin"
    path.write_bytes(path.read_bytes()[:-10])


def cut_vectors(directory: Path) -> None:
    (path,) = directory.glob("vectors.*")
    path.write_bytes(path.read_bytes()[:-4])


def more_vectors(directory: Path) -> None:
    (path,) = directory.glob("vectors.*")
    path.write_bytes(path.read_bytes() + bytes(4))


def a_vector_that_is_not_finite(directory: Path) -> None:
    (path,) = directory.glob("vectors.*")
    data = bytearray(path.read_bytes())
    at = 0 if path.suffix == ".f32" else 96 + 4 + 4 * 32  # after the links of the first element
    data[at : at + 4] = np.float32(np.inf).tobytes()
    path.write_bytes(data)


SPOILED = {
    "beyond": (more_in_a_segment, "more: not in the manifest"),
    "no path": (files_without_a_path, "files.json: an entry that is no file"),
    "outside": (set_in_file(1, "../../etc"), "files.json: '../../etc': no path"),
    "absolute": (set_in_file(1, "/etc/passwd"), "files.json: '/etc/passwd': no path"),
    "no id": (set_in_file(0, 0), "a number"),
    "a large id": (set_in_file(0, 1 << 40), "a number"),
    "an id to come": (set_in_file(0, 1 << 30), "an id that is still to come"),
    "no number": (set_in_file(0, True), "files.json: an entry that is no file"),
    "fewer chunks": (set_in_file(5, 0), "chunks.npy: chunks of other files"),
    "many chunks": (set_in_file(5, 1 << 20), "a number"),
    "less than none": (set_in_file(5, -1), "a number"),
    "no list": (files_that_are_no_list, "files.json: "),
    "a file more": (one_more_file, "files.json: not "),
    "no file": (set_row("file", 4), "chunks.npy: a chunk of no file"),
    "line 0": (set_row("line_start", 0), "chunks.npy: lines"),
    "line end": (set_row("line_end", 0), "chunks.npy: lines"),
    "name": (set_row("name_size", 1 << 31), "chunks.npy: texts"),
    "text": (set_row("text_size", 1 << 31), "chunks.npy: texts"),
    "definitions": (set_row("defines_size", 1 << 31), "chunks.npy: texts"),
    "kind": (set_row("kind", 250), "chunks.npy: an unknown kind"),
    "offset": (set_row("offset", 1 << 60), "chunks.npy: texts"),
    "column": (set_row("column", 1 << 31), "chunks.npy: a column"),
    "line_end": (set_row("line_end", (1 << 32) - 1), "chunks.npy: more lines than the text has"),
    "pickle": (pickled_rows, "chunks.npy: "),
    "others": (other_rows, "chunks.npy: not"),
    "no text": (texts_that_are_none, "chunks.bin: not UTF-8"),
    "no line end": (no_line_end, "chunks.bin: texts without line ends"),
    "half": (half_the_texts, "chunks.npy: texts"),
    "vectors cut off": (cut_vectors, "vectors."),
    "more vectors": (more_vectors, "vectors."),
    "infinite": (a_vector_that_is_not_finite, "not finite"),
}


@pytest.mark.promise("TRUST-2")
@pytest.mark.parametrize("number", [0, 3], ids=["graph", "matrix"])
@pytest.mark.parametrize(("spoil", "told"), SPOILED.values(), ids=SPOILED)
def test_a_segment_that_is_wrong_is_not_adopted(
    foreign_segments: Project, spoil: Callable[[Path], None], told: str, number: int
) -> None:
    spoil(segment(live(foreign_segments), number))
    forge(foreign_segments, manifest_of(foreign_segments))
    with pytest.raises(IndexUnusableError) as refused:
        adopt(foreign_segments)
    assert told in str(refused.value)


def beyond_the_manifest(directory: Path) -> None:
    (directory / "more").write_text("")


def another_segment(directory: Path) -> None:
    shutil.copytree(segment(directory), directory / "s000009-abcdef")


def more_full_text(directory: Path) -> None:
    (directory / "fulltext" / "more").write_text("")


def dead(text: str) -> Callable[[Path], None]:
    """Write what is dead; @ is the first segment, which has four files."""

    def spoil(directory: Path) -> None:
        (directory / "dead.json").write_text(text.replace("@", f'"{segment(directory).name}"'))

    return spoil


def same_in_two_segments(column: int) -> Callable[[Path], None]:
    """The last file of the last segment has what the last of the first has."""

    def spoil(directory: Path) -> None:
        rows = json.loads((segment(directory) / "files.json").read_bytes())
        set_in_file(column, rows[-1][column])(segment(directory, 3))

    return spoil


def same_in_one_segment(column: int) -> Callable[[Path], None]:
    def spoil(directory: Path) -> None:
        rows = json.loads((segment(directory) / "files.json").read_bytes())
        set_in_file(column, rows[-2][column])(segment(directory))

    return spoil


def a_segment_from_elsewhere(directory: Path) -> None:
    found = segment(directory)
    found.rename(directory.parent.parent / "elsewhere")
    found.symlink_to("../../elsewhere")


def one_dead_file_more(directory: Path) -> None:
    path = directory / "dead.json"
    dead_ones = json.loads(path.read_bytes())
    dead_ones[segment(directory).name].append(1)
    path.write_text(json.dumps(dead_ones))


SPOILED_WHOLES = {
    "beyond": (beyond_the_manifest, "more: not in the manifest"),
    "a segment more": (another_segment, "s000009-abcdef: not in the manifest"),
    "full text": (more_full_text, "fulltext/more: not in the manifest"),
    "no dead": (dead(""), "dead.json"),
    "dead list": (dead("[1]"), "dead.json"),
    "dead elsewhere": (dead('{"s000009-abcdef": [0]}'), "dead.json"),
    "dead beyond": (dead("{@: [4]}"), "dead.json"),
    "dead below": (dead("{@: [-1]}"), "dead.json"),
    "dead truth": (dead("{@: [true]}"), "dead.json"),
    "dead text": (dead('{@: ""}'), "dead.json"),
    "dead twice": (dead("{@: [0, 0]}"), "dead.json"),
    "dead deep": (dead("[" * 100_000), "dead.json"),
    "fewer dead": (dead("{}"), "a path twice"),
    "one dead more": (one_dead_file_more, "chunks of"),
    "more dead": (dead("{@: [0, 1, 2, 3]}"), "a path twice"),
    "id in another": (same_in_two_segments(0), "an id twice"),
    "path in another": (same_in_two_segments(1), "a path twice"),
    "id in its own": (same_in_one_segment(0), "an id twice"),
    "path in its own": (same_in_one_segment(1), "a path twice"),
    "elsewhere": (a_segment_from_elsewhere, "symbolic link"),
}


@pytest.mark.promise("TRUST-2")
@pytest.mark.parametrize(("spoil", "told"), SPOILED_WHOLES.values(), ids=SPOILED_WHOLES)
def test_segments_that_do_not_belong_together_are_not_adopted(
    foreign_segments: Project, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(live(foreign_segments))
    forge(foreign_segments, manifest_of(foreign_segments))
    with pytest.raises((IndexUnusableError, UntrustedError)) as refused:
        adopt(foreign_segments)
    assert told in str(refused.value)


@pytest.mark.promise("TRUST-2")
def test_an_id_that_no_chunk_could_be_called_by_is_not_adopted(foreign_segments: Project) -> None:
    forge(foreign_segments, {**manifest_of(foreign_segments), "next_file": 1 << 40})
    with pytest.raises(IndexUnusableError, match="the next id"):
        adopt(foreign_segments)


@pytest.mark.promise("TRUST-2")
@pytest.mark.parametrize("number", [10**11, 10**13])
def test_a_segment_s_number_that_no_name_has_room_for_is_not_adopted(
    foreign_segments: Project, number: int
) -> None:
    forge(foreign_segments, {**manifest_of(foreign_segments), "next_segment": number})
    with pytest.raises(IndexUnusableError, match="the next segment"):
        adopt(foreign_segments)


@pytest.mark.promise("TRUST-2")
@pytest.mark.parametrize("guessed", [1, (1 << 48) - 1])
def test_a_wrong_count_of_guessed_encodings_is_not_adopted(
    foreign_segments: Project, guessed: int
) -> None:
    """The next run would count on from it, below zero or beyond what can be read again."""
    whole = manifest_of(foreign_segments)
    forge(foreign_segments, {**whole, "counts": {**whole["counts"], "guessed": guessed}})
    with pytest.raises(IndexUnusableError, match=f"not {guessed} of them guessed"):
        adopt(foreign_segments)


@pytest.mark.promise("TRUST-2")
def test_what_was_said_to_be_dead_in_the_full_text_is_not_taken(foreign_segments: Project) -> None:
    forge(foreign_segments, {**manifest_of(foreign_segments), "dead_documents": 10**9})
    adopt(foreign_segments)
    assert manifest_of(foreign_segments)["dead_documents"] == 0


@pytest.mark.promise("TRUST-2")
def test_segments_that_are_right_are_adopted_and_an_index_run_goes_on_from_them(
    foreign_segments: Project,
) -> None:
    theirs = live(foreign_segments)
    told = adopt(foreign_segments)
    assert (told["files"], told["chunks"]) == (
        11,
        manifest_of(foreign_segments)["counts"]["chunks"],
    )
    ours = live(foreign_segments)
    for path in ours.rglob("*"):
        assert path.is_dir() or path.stat().st_nlink == 1, "a stranger could write to it"
    with served(foreign_segments) as service:
        root = str(foreign_segments.root)
        assert not service.exposed_index(root)["changed"]
        for query, where in (
            ("retry when the peer disconnects", "net/retry.py"),
            ("in_the_second_graph", "more/graph.py"),
            ("in_the_first_matrix_3", "more/matrix3.py"),
            ("in_the_second_matrix", "more/matrix0.py"),
        ):
            for ask in (service.exposed_query, service.exposed_query_fts):
                assert ask(root, query)["results"][0]["path"] == where
        dead = service.exposed_query_fts(root, '"first matrix 0"')
        assert dead["relaxed"] == ["first matrix 0"], "it is dead"
        write(foreign_segments.root, "more/graph.py", "def of_ours():\n    return 3\n")
        assert service.exposed_index(root)["changed"]
        (hit,) = service.exposed_query_fts(root, '"of ours"')["results"]
        assert hit["path"] == "more/graph.py"
        gone = service.exposed_query_fts(root, '"second graph"')
        assert gone["relaxed"] == ["second graph"]
    assert theirs.name != ours.name


@pytest.mark.promise("TRUST-2")
def test_the_words_are_made_of_the_texts_and_not_taken(foreign_segments: Project) -> None:
    for number in range(4):
        (segment(live(foreign_segments), number) / "words.txt").write_bytes(b"\nlure\n" * 9 + b"\0")
    forge(foreign_segments, manifest_of(foreign_segments))
    adopt(foreign_segments)
    for number in range(4):
        text = (segment(live(foreign_segments), number) / "words.txt").read_bytes()
        assert b"lure" not in text
        assert text.count(b"\0") == 1


@pytest.mark.promise("TRUST-2")
def test_the_full_text_is_made_of_the_texts_and_not_taken(foreign: Project) -> None:
    directory = live(foreign)
    manifest = manifest_of(foreign)
    text_of_other_chunks(directory)
    fulltext = {f"fulltext/{path.name}": path for path in (directory / "fulltext").iterdir()}
    kept = {n: at for n, at in manifest["files"].items() if not n.startswith("fulltext/")}
    manifest["files"] = {**kept, **{name: {} for name in fulltext if not name.endswith(".lock")}}
    forge(foreign, manifest)
    adopt(foreign)
    with served(foreign) as service:
        assert not service.exposed_query_fts(str(foreign.root), "attackers_lure")["results"]
        (hit, *_) = service.exposed_query_fts(str(foreign.root), "peer disconnects")["results"]
        assert hit["path"] == "net/retry.py"


_LOAD = """
import sys, hnswlib, numpy as np
index = hnswlib.Index(space="cosine", dim=512)
index.load_index(sys.argv[1], max_elements=int(sys.argv[2]))
index.set_ef(64)
for seed in range(20):
    query = np.random.default_rng(seed).standard_normal(512).astype(np.float32)
    index.knn_query(query, k=min(5, int(sys.argv[2])), num_threads=1)
"""


@pytest.mark.promise("TRUST-2")
def test_a_graph_that_would_crash_the_engine_is_never_adopted(foreign_segments: Project) -> None:
    """Bytes all over the file are changed; what is adopted all the same is searched, in a process
    of its own, and must not crash it."""
    path = segment(live(foreign_segments)) / "vectors.hnsw"
    whole = path.read_bytes()
    count = manifest_of(foreign_segments)["segments"][path.parent.name]["chunks"]
    size = int.from_bytes(whole[24:32], "little")
    links = [96 + n * size + 4 * k for n in range(count) for k in range(33)]
    places = [*range(96), *links[:: max(1, len(links) // 150)], len(whole) - 4, 96 + size - 8]
    harmless: list[bytes] = []
    for place in places:
        spoiled = bytearray(whole)
        spoiled[place] ^= 0xA5
        with suppress(IndexUnusableError):
            _check_graph(np.frombuffer(spoiled, np.uint8), count, 512)
            harmless.append(bytes(spoiled))
    # The rest are links that are not in use, and figures for building only.
    assert len(harmless) < 2 * len(places) // 3
    for number, survivor in enumerate(harmless[:: max(1, len(harmless) // 12)]):
        sample = foreign_segments.root / f"{number}.hnsw"
        sample.write_bytes(survivor)
        command = [sys.executable, "-c", _LOAD, str(sample), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (number, done.returncode, done.stderr)


@pytest.mark.promise("TRUST-2")
@pytest.mark.parametrize("count", [0, 1, 2, 700])
def test_a_graph_of_any_size_that_hnswlib_has_made_passes(tmp_path: Path, count: int) -> None:
    index = hnswlib.Index(space="cosine", dim=8)
    index.init_index(max_elements=max(count, 1024), M=16, ef_construction=100)
    if count:
        index.add_items(np.random.default_rng(1).standard_normal((count, 8)), np.arange(count))
    index.save_index(str(tmp_path / "graph"))
    _check_graph(np.fromfile(tmp_path / "graph", np.uint8), count, 8)
    with pytest.raises(IndexUnusableError):
        _check_graph(np.fromfile(tmp_path / "graph", np.uint8), count + 1, 8)
    with pytest.raises(IndexUnusableError):
        _check_graph(np.fromfile(tmp_path / "graph", np.uint8), count, 9)
