"""The binding of inotify: what bytes say, and what the kernel tells of real folders."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from cidx_ref.daemon import inotify
from cidx_ref.daemon.inotify import Event, Inotify, parse
from cidx_ref.runtime import SYSTEM

pytestmark = pytest.mark.once

PATIENCE_S = 30.0


def _bytes(watch: int, mask: int, name: bytes = b"", pad: int = 0) -> bytes:
    return struct.pack("iIII", watch, mask, 7, len(name) + pad) + name + b"\0" * pad


@pytest.mark.parametrize(
    ("data", "events"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(_bytes(3, inotify.MODIFY), [Event(3, inotify.MODIFY)], id="no name"),
        pytest.param(
            _bytes(1, inotify.CREATE, b"a.py", 12) + _bytes(2, inotify.DELETE, b"b", 15),
            [Event(1, inotify.CREATE, "a.py"), Event(2, inotify.DELETE, "b")],
            id="names with zeros after them",
        ),
        pytest.param(
            _bytes(1, inotify.CREATE, b"\xff\n", 2),
            [Event(1, inotify.CREATE, "\udcff\n")],
            id="a name that is not UTF-8",
        ),
        pytest.param(_bytes(-1, inotify.OVERFLOW), [Event(-1, inotify.OVERFLOW)], id="an overflow"),
        pytest.param(
            _bytes(1, inotify.MODIFY) + b"\1\0\0",
            [Event(1, inotify.MODIFY), Event(-1, inotify.OVERFLOW)],
            id="a head that is cut off",
        ),
        pytest.param(
            _bytes(1, inotify.CREATE, b"a.py", 12)[:-1],
            [Event(-1, inotify.OVERFLOW)],
            id="a name that is cut off",
        ),
        pytest.param(
            struct.pack("iIII", 1, inotify.MODIFY, 0, 0xFFFF_FFFF),
            [Event(-1, inotify.OVERFLOW)],
            id="a length of four gigabytes",
        ),
    ],
)
def test_bytes_are_read_as_events(data: bytes, events: list[Event]) -> None:
    assert parse(data) == events


@pytest.fixture
def events() -> Iterator[Inotify]:
    opened = Inotify.open()
    yield opened
    opened.close()


def _add(events: Inotify, folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return events.add(descriptor)
    finally:
        os.close(descriptor)


def test_what_happens_in_a_watched_folder_is_told_and_nothing_else(
    events: Inotify, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    watch = _add(events, tmp_path / "in")
    assert events.read() == []
    (tmp_path / "out" / "b.py").write_text("x")
    (tmp_path / "in" / "a.py").write_text("x")
    (tmp_path / "in" / "sub").mkdir()
    assert events.read() == [
        Event(watch, inotify.CREATE, "a.py"),
        Event(watch, inotify.MODIFY, "a.py"),
        Event(watch, inotify.CREATE | inotify.IS_FOLDER, "sub"),
    ]
    assert events.read() == []


def test_a_folder_that_is_added_again_has_its_number_again(events: Inotify, tmp_path: Path) -> None:
    assert _add(events, tmp_path) == _add(events, tmp_path)


def test_a_watch_that_was_removed_tells_its_end_and_may_be_removed_again(
    events: Inotify, tmp_path: Path
) -> None:
    watch = _add(events, tmp_path)
    events.remove(watch)
    (tmp_path / "a.py").write_text("x")
    assert events.read() == [Event(watch, inotify.IGNORED)]
    events.remove(watch)


def test_a_file_cannot_be_watched(events: Inotify, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    with open(tmp_path / "a.py") as file, pytest.raises(NotADirectoryError):
        events.add(file.fileno())


def test_a_wait_ends_with_an_event_with_a_call_and_with_its_time(
    events: Inotify, tmp_path: Path
) -> None:
    _add(events, tmp_path)
    events.wait(0.001)
    for end in (events.wake, (tmp_path / "a.py").touch):
        thread = SYSTEM.thread(lambda: events.wait(None), "waits")
        end()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_nothing_is_left_open_and_no_child_gets_any_of_it() -> None:
    events = Inotify.open()
    descriptors = (events.fileno(), events._wakes)
    assert not any(map(os.get_inheritable, descriptors))
    events.close()
    events.close()
    events.wake()
    for descriptor in descriptors:
        with pytest.raises(OSError):
            os.fstat(descriptor)
