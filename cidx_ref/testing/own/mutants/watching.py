"""Watchers that miss changes, or forget them (FRESH-1, FRESH-2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from cidx_ref.daemon import gitstate, watching
from cidx_ref.daemon.outside import Outside
from cidx_ref.daemon.relevance import Relevance
from cidx_ref.daemon.watch import Watch
from cidx_ref.daemon.watched import Changes, WatchedTree
from cidx_ref.daemon.watching import Scan, Session
from cidx_ref.index import watched
from cidx_ref.index.gitrun import Git
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("FRESH-2")
def an_event_during_a_run_is_lost() -> Iterator[None]:
    """A run that has succeeded makes everything clean, also what has changed while it ran."""
    settle = Watch._settle

    def clean(self: Watch, session: Session, scan: Scan, ok: bool) -> None:
        settle(self, session, scan, ok)
        if ok:
            session.dirty, session.first_s = set(), None

    with patch.object(Watch, "_settle", clean):
        yield


@mutant("FRESH-2")
def a_failed_run_forgets_what_it_had_in_flight() -> Iterator[None]:
    """What a run had in flight is clean once it is over, however it ends."""
    with patch.object(Session, "put_back", lambda self, scan: None):
        yield


@mutant("FRESH-2")
def the_race_between_listing_and_arming_is_ignored() -> Iterator[None]:
    """A folder is clean when it is armed, though it has changed since it was listed."""
    with patch.object(Scan, "is_recent", lambda self, status, now_s, wall_s: False):
        yield


@mutant("FRESH-2")
def a_folder_is_all_that_is_compared_when_it_is_armed() -> Iterator[None]:
    """A file of patterns that was edited after the listing has left its folder as it was."""
    with patch.object(WatchedTree, "_deciding", lambda self, *arguments: set()):
        yield


@mutant("FRESH-2")
def the_number_of_entries_is_the_index() -> Iterator[None]:
    """An index lists as much as it did, so it lists the same."""
    with patch.object(gitstate, "what_it_lists", lambda data: data[:12]):
        yield


@mutant("FRESH-2")
def a_git_directory_is_watched_as_it_was_found() -> Iterator[None]:
    """`info` was not there, or is another one now, and nobody looks."""
    with (
        patch.object(gitstate, "_OWN", frozenset(("index", "HEAD"))),
        patch.object(gitstate, "_SHARED", frozenset()),
    ):
        yield


@mutant("FRESH-2")
def what_is_outside_is_not_the_projects() -> Iterator[None]:
    """What no watch is on does not change."""
    with patch.object(Outside, "has_changed", lambda self: False):
        yield


@mutant("FRESH-2")
def repositories_inside_are_folders() -> Iterator[None]:
    """Only the project's own git directory is watched."""
    add = Outside.add

    def own(self: Outside, folder: str) -> None:
        if not folder:
            add(self, folder)

    with patch.object(Outside, "add", own):
        yield


@mutant("FRESH-2")
def freshness_is_what_is_known_already() -> Iterator[None]:
    """`is_fresh` does not read what the kernel has to tell."""

    def is_fresh(self: Watch, timeout_s: float = -1) -> bool:
        return self._session is not None and self._session.is_fresh

    with patch.object(Watch, "is_fresh", is_fresh):
        yield


@mutant("FRESH-2")
def a_run_begins_without_reading_the_queue() -> Iterator[None]:
    """What the kernel has to tell when a run begins to scan counts as changed after it: no change
    is missed, but each is run for twice, and the index is never fresh when a run is over."""
    scanning = Watch.scanning

    def undrained(self: Watch, run: object | None = None) -> None:
        with patch.object(Watch, "_drain", lambda self, session, outside: False):
            scanning(self, run)

    with patch.object(Watch, "scanning", undrained):
        yield


@mutant("FRESH-2")
def an_overflow_is_an_event_like_others() -> Iterator[None]:
    """Where the kernel's queue has overflown, what could be read is taken for all."""
    changes = WatchedTree.changes

    def all_of_them(self: WatchedTree, *arguments: Any) -> Changes:
        return dataclasses.replace(changes(self, *arguments), is_overflown=False)

    with patch.object(WatchedTree, "changes", all_of_them):
        yield


@mutant("FRESH-2")
def names_are_believed_after_an_overflow() -> Iterator[None]:
    """A folder that was replaced while events were lost is taken for the one that is watched."""
    with patch.object(WatchedTree, "_doubt", lambda self: frozenset()):
        yield


@mutant("FRESH-2")
def a_folder_of_ignored_files_is_an_ignored_one() -> Iterator[None]:
    """A folder in which all that is there now is ignored is not watched, as if a pattern matched
    it."""
    list_paths = Git.list_paths

    def all_of_them(self: Git, arguments: list[str], **options: Any) -> list[str]:
        is_asked = arguments[0] == "check-ignore"
        folders = [each for each in arguments if each.startswith("./")]
        return folders if is_asked else list_paths(self, arguments, **options)

    with patch.object(Git, "list_paths", all_of_them):
        yield


@mutant("FRESH-2")
def a_tracked_folder_that_a_pattern_ignores_is_not_entered() -> Iterator[None]:
    """A folder that comes back is asked about by its name and the patterns alone."""
    with patch.object(Relevance, "_is_on_the_way", lambda self, folder: False):
        yield


@mutant("FRESH-2")
def what_is_left_out_is_not_watched_for_what_had_it_left_out() -> Iterator[None]:
    """A folder that is left out for what lies in it is as one that is left out by its name."""
    enter = watched._Looking.enter

    def but_those(self: Any, descriptor: int, place: Any) -> list[Any]:
        return [each for each in enter(self, descriptor, place) if not each.inside]

    with patch.object(watched._Looking, "enter", but_those):
        yield


@mutant("FRESH-2")
def what_did_not_belong_never_does() -> Iterator[None]:
    """What a run has seen there, and not listed, is passed over, whatever comes in its place."""
    may_matter = Relevance.may_matter

    def never(self: Relevance, folder: str, name: str, *, is_written: bool = False) -> bool:
        if folder + name in self._outsiders:
            return False
        return may_matter(self, folder, name, is_written=is_written)

    with patch.object(Relevance, "may_matter", never):
        yield


@mutant("FRESH-2")
def patterns_outlive_their_folder() -> Iterator[None]:
    """What a folder's patterns said is believed of the folder that takes its place."""
    with patch.object(Relevance, "forget_folder", lambda self, folder: None):
        yield


@mutant("FRESH-2")
def what_was_passed_over_during_a_run_is_forgotten() -> Iterator[None]:
    """A file that was too large before a run, and after it, is taken for one that the run has not
    read."""
    remember = Relevance.remember_unread

    def forgetful(self: Relevance, found: dict[str, Any]) -> set[str]:
        remember(self, found)
        return set()

    with patch.object(Relevance, "remember_unread", forgetful):
        yield


@mutant("FRESH-1")
def runs_never_pause() -> Iterator[None]:
    """What is written all the time has one run follow the other."""
    with patch.object(watching, "_PAUSE_TIMES", 0.0):
        yield


@mutant("FRESH-1")
def new_folders_are_not_watched() -> Iterator[None]:
    """A folder that comes is watched after the next run, which an empty one does not start."""
    with patch.object(WatchedTree, "_enter", lambda self, folder, found: None):
        yield


@mutant("FRESH-1")
def changes_start_no_run() -> Iterator[None]:
    """What is seen to change is counted, and left to whoever has the index run."""
    due = Session.due_s

    def never(self: Session, now_s: float, wall_s: float) -> float | None:
        return None if self.mode == "watching" else due(self, now_s, wall_s)

    with patch.object(Session, "due_s", never):
        yield


@mutant("FRESH-1")
def changes_settle_for_ever() -> Iterator[None]:
    """A run waits for quiet, however long a file is written again and again."""
    with patch.object(watching, "AT_MOST_S", float("inf")):
        yield


@mutant("FRESH-1")
def a_failed_run_is_not_tried_again() -> Iterator[None]:
    """Once a run has failed, changes are run for when there are others."""
    retry = Session.retry

    def never(self: Session, now_s: float, problem: BaseException) -> None:
        retry(self, now_s, problem)
        self.not_before_s = float("inf")

    with patch.object(Session, "retry", never):
        yield
