"""Scans that believe what an earlier one saw, though it may not be so any more (QRY-1, TRUST-2)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from cidx_ref.index import seen
from cidx_ref.index.seen import SeenFiles
from cidx_ref.keys import Key
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("QRY-1")
def the_racy_case_is_forgotten() -> Iterator[None]:
    """A file that has its times from the moment of the scan is taken for unchanged."""

    def is_old(self: SeenFiles, found: os.stat_result) -> bool:
        return True

    with patch.object(SeenFiles, "_is_old", is_old):
        yield


@mutant("QRY-1")
def the_mtime_is_enough() -> Iterator[None]:
    """A file that was edited in place, and has its mtime put back, is taken for unchanged."""

    def status(found: os.stat_result) -> bytes:
        return seen._STATUS.pack(found.st_size, found.st_ino, found.st_mtime_ns, 0)

    with patch.object(seen, "_status", status):
        yield


@mutant("TRUST-2")
def anybody_may_say_what_was_seen() -> Iterator[None]:
    """What earlier scans saw is believed, whoever wrote it down."""
    parse = SeenFiles._parse

    class Credulous(Key):
        def vouches_for(self, manifest: dict[str, Any], digest: object) -> bool:
            return True

    def believe(self: SeenFiles, data: bytes, key: Key) -> None:
        parse(self, data, Credulous(key.secret))

    with patch.object(SeenFiles, "_parse", believe):
        yield
