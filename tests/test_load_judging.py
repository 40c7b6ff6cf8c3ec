"""What load scenarios hold against an answer while files change: without sessions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.testing.conformance.asking import Answer, Hit
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.load import editions, saves
from cidx_ref.testing.load.corpus import Question
from cidx_ref.testing.load.editions import Edition, generation_of
from cidx_ref.testing.load.place import Place, as_results, project_at, spawned, story

pytestmark = pytest.mark.once

BOTH = ("a.py", "b.py")
SETTLED = Edition(3, BOTH, 3)
MOVING = Edition(3, BOTH, 4)


def answer(*paths: str, raw: Any = None) -> Answer:
    return Answer([Hit(path, 1, "") for path in paths], raw)


@pytest.mark.parametrize(
    ("paths", "after", "is_exact", "said"),
    [
        (("b.py", "a.py"), SETTLED, True, ""),
        (("c.py", "b.py", "a.py"), SETTLED, True, ""),
        ((), SETTLED, True, "was indexed, and is found in []"),
        (("a.py",), SETTLED, True, "was indexed, and is found in ['a.py']"),
        (("c.py",), SETTLED, False, "was indexed, and is found in []"),
        # The next edition may be indexed by now, or not yet, but not half of it.
        ((), MOVING, True, ""),
        (("a.py", "b.py"), MOVING, True, ""),
        (("a.py",), MOVING, True, "half an index"),
        # A semantic search finds other files, too.
        (("a.py", "c.py"), MOVING, False, ""),
    ],
)
def test_an_edition_that_is_indexed_is_found_whole_until_the_next_one_is_written(
    paths: tuple[str, ...], after: Edition, is_exact: bool, said: str
) -> None:
    found = editions.complaint(answer(*paths), SETTLED, after, is_exact=is_exact) or ""
    assert said in found
    assert bool(said) == bool(found)


def test_the_writer_tells_other_processes_how_far_it_is(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    assert Edition.now(project) is None
    MOVING.save(project)
    assert Edition.now(project) == MOVING
    assert list(project.iterdir()) == []


@pytest.mark.parametrize(
    ("raw", "generation"), [({"generation": 7}, "7"), ({}, ""), ([], ""), (None, "")]
)
def test_a_generation_is_known_where_an_answer_names_it(raw: Any, generation: str) -> None:
    assert generation_of(raw) == generation


def hit(number: int | None, *, stale: bool = False) -> Answer:
    text = "" if number is None else f"    return 'zanzi'  # save {number}"
    return Answer([Hit("edited_3.py", 2, text, {"stale": True} if stale else {})], {})


@pytest.mark.parametrize(
    ("found", "before", "after", "options", "said"),
    [
        (hit(11), 11, 11, {}, ""),
        (hit(11), 11, 19, {}, ""),
        (hit(19), 11, 19, {}, ""),
        (hit(27), 11, 19, {}, "save 27 is found, and it is 19 that was saved"),
        (hit(3), 11, 11, {}, "save 3 is not called stale, though 11 was saved"),
        (hit(3), 11, 11, {"stale": ""}, ""),
        (hit(3, stale=True), 11, 11, {}, ""),
        (hit(11, stale=True), 11, 11, {}, "save 11 is called stale, and it is what the file"),
        (hit(11, stale=True), 11, 19, {}, ""),
        (hit(3, stale=True), 11, 11, {"is_fresh": True}, "save 3 is called fresh, though 11"),
        (hit(None), 11, 11, {"is_fresh": True}, ""),
        (answer("edited_4.py"), 11, 11, {}, "edited_3.py is not found"),
    ],
)
def test_a_hit_in_an_edited_file_is_what_the_file_holds_or_says_that_it_is_not(
    found: Answer, before: int, after: int, options: dict[str, Any], said: str
) -> None:
    given = {"stale": "stale", "is_fresh": False, **options}
    complaint = saves.complaint(found, "edited_3.py", before, after, **given) or ""
    assert said in complaint
    assert bool(said) == bool(complaint)


def test_a_save_is_whole_and_has_a_word_of_its_own(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    for number in (3, 11):
        saves.save(root, number)
        assert saves.held(root, saves.place(number)) == number
    text = (root / "edited_3.py").read_text()
    assert saves.word(11) in text
    assert saves.word(3) not in text
    assert saves.common("edited_3.py") in text
    assert [path.name for path in root.iterdir()] == ["edited_3.py"]
    words = {saves.word(number) for number in range(1000)}
    assert len(words) == 1000
    assert all(word.isalpha() and word.islower() for word in words)


# What a daemon is taken for of which no target says anything.


@pytest.mark.parametrize(
    ("said", "paths"),
    [
        ([{"path": "a.py"}, {"file_path": "b.py"}], ["a.py", "b.py"]),
        (({"file": "a.py"},), ["a.py"]),
        ({"results": [{"payload": {"path": "a.py"}, "score": 1}]}, ["a.py"]),
        ({"results": ({"filename": "a.py"},)}, ["a.py"]),
        (["a.py", "b.py"], ["a.py", "b.py"]),
        ({"results": [{"score": 1}]}, [""]),
        ([], []),
    ],
)
def test_the_storys_answers_are_read_as_lists_or_results(said: Any, paths: list[str]) -> None:
    assert [hit["path"] for hit in as_results(said)["results"]] == paths


def test_what_is_no_list_of_hits_is_left_as_it_is() -> None:
    assert as_results({"error": "no index"}) == {"error": "no index"}
    assert as_results("text") == "text"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("otherd", "otherd serve --project {project}"),
        ("otherd --root={project} run", "otherd --root={project} run"),
    ],
)
def test_a_command_that_serves_is_given_the_directory(command: str, words: str) -> None:
    target = spawned(command)
    assert getattr(target.start, "command") == words  # noqa: B009 - a Spawn, not an Attach
    assert target.offers(Cap.KILL, Cap.STOP, Cap.INDEX)
    assert not target.offers(Cap.WATCH)


def test_a_place_is_judged_by_content_where_hits_have_paths() -> None:
    place = story("unix:///some/where/.code-indexer/daemon.sock", caps=[Cap.FTS])
    assert place.root == project_at(place.host) == Path("/some/where")
    assert place.modes == ("query", "query_fts")
    assert place.is_judged_by_content
    blind = Place(replace(place.target, hits=""), place.host, place.root)
    assert not blind.is_judged_by_content
    assert blind.complaint(Question("a tree", "shutil.py")) is None
