"""Daemons that believe what lies in a tree, or let others in; clients that survive a fork (TRUST-1
to TRUST-4)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from cidx_ref import client, files
from cidx_ref.files import Directory
from cidx_ref.keys import Key
from cidx_ref.testing.own.mutants.registry import mutant
from cidx_ref.wire import Caller


@mutant("TRUST-1")
def whatever_is_there_is_used() -> Iterator[None]:
    """A link, a FIFO or a directory in the place of a file of ours is opened like one."""

    def own_only(self: Directory, name: str, found: os.stat_result, kind: int) -> None:
        files._require_owner(self.path / name, found)

    with patch.object(Directory, "_require", own_only):
        yield


@mutant("TRUST-1")
def names_are_paths() -> Iterator[None]:
    """A name with slashes in it is looked up wherever it leads."""
    with patch.object(files, "_plain", lambda name: name):
        yield


@mutant("TRUST-2")
def right_checksums_are_enough() -> Iterator[None]:
    """A manifest whose checksums are right is taken for ours, whoever made it."""

    def believe(self: Key, manifest: dict[str, Any], digest: object) -> bool:
        return True

    with patch.object(Key, "vouches_for", believe):
        yield


@mutant("TRUST-3")
def what_is_made_is_for_everybody() -> Iterator[None]:
    """What is made has the modes that the umask leaves."""
    create = Directory.create

    def openly(self: Directory, name: str, data: bytes, **options: Any) -> None:
        create(self, name, data, **options)
        os.chmod(name, 0o644, dir_fd=self.fd)

    with patch.object(Directory, "create", openly):
        yield


@mutant("TRUST-3")
def owners_are_not_asked() -> Iterator[None]:
    """What somebody else has put into the project's directory is used like one's own."""
    with patch.object(files, "_require_owner", lambda path, found: None):
        yield


@mutant("TRUST-4")
def connections_survive_a_fork() -> Iterator[None]:
    """Parent and child go on with one connection, and with one lock that may be held."""
    with (
        patch.object(client, "_after_fork", lambda: None),
        patch.object(Caller, "_is_of_this_process", lambda self: True),
    ):
        yield
