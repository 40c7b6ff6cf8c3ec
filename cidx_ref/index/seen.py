"""What the last scans saw: of each file the digest of its content, or why its content is left out.

So a file that has not changed is not read again.  A file is known by its size, inode, and both of
its times; as in git's index, one that is not older than the scan that saw it is not believed, for
it could change once more and keep its times.  This is a cache: to lose it costs reading, and
whatever is wrong with it, nothing is seen.  It may have come with a clone, so it carries the digest
of the account's key, as a manifest does.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple

from cidx_ref.errors import UntrustedError
from cidx_ref.keys import Key
from cidx_ref.project import SEEN, Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["Seen", "SeenFiles", "Status"]

_FORMAT = 1
_MAX_BYTES = 1 << 28  # as much as is read of git's index: some two million files
_MAX_HEADER_BYTES = 1 << 16

#: How much older than a scan a file must be.  What changes after the scan has begun has a time that
#: is not before it, by the same clock, which moves in ticks; another device may have another clock,
#: and whole seconds.
_TICKS_NS = 20_000_000
_OTHER_CLOCK_NS = 2_000_000_000

# A row: size, inode, both times; the digest; whether the encoding was guessed, and the places of
# `reason` and `despite` among the reasons.
_STATUS = Struct("<QQQQ")
_VERDICT = Struct("<16s?BB")
_ROW_BYTES = _STATUS.size + _VERDICT.size


class Seen(NamedTuple):
    """What was seen of a file: why it is left out (`reason`), else the `digest` of its content.

    `despite` is why its text would leave it out, unless the listing exempts it.  `guessed` says
    that nothing but a guess told the encoding.
    """

    digest: str
    despite: str = ""
    guessed: bool = False
    reason: str = ""


class Status(NamedTuple):
    """What of a file's status says that it is as it was, as `os.stat_result` calls it."""

    st_dev: int
    st_size: int
    st_ino: int
    st_mtime_ns: int
    st_ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Status:
        return cls(found.st_dev, found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


class SeenFiles:
    """What was seen, by path.  For one thread at a time, and for the one writer of a project."""

    def __init__(self, recipe: str, began_ns: int | None = None, device: int = -1) -> None:
        """Nothing is seen yet.  `recipe`: all else that verdicts depend on.

        `began_ns`: when this scan began, by the clock of the file system on `device`.  Where that
        is not known, no file is believed.
        """
        self._recipe = recipe
        self._device = device
        self._old_ns = -1 << 64 if began_ns is None else began_ns - _TICKS_NS
        self._old_elsewhere_ns = -1 << 64 if began_ns is None else began_ns - _OTHER_CLOCK_NS
        self._rows: dict[str, bytes] = {}  # from earlier scans
        self._kept: dict[str, bytes] = {}  # for the next one
        self._reasons: list[str] = [""]
        self._has_new = False

    @classmethod
    def load(
        cls, project: Project, key: Key, *, recipe: str, runtime: Runtime = SYSTEM
    ) -> SeenFiles:
        """What earlier scans saw by the same `recipe`; nothing where `key` does not vouch for it.

        The scan begins with this: what was looked at before must not be put here.  Raises `OSError`
        and `UntrustedError` where the index cannot be written.
        """
        with project.open(runtime=runtime) as directory:
            data = b""
            with suppress(OSError, UntrustedError):
                data = directory.read(SEEN, _MAX_BYTES)
            touched = directory.touch(SEEN)
        seen = cls(recipe, touched.st_mtime_ns, touched.st_dev)
        with suppress(ValueError, RecursionError):
            seen._parse(data, key)
        return seen

    def get(self, path: str, found: os.stat_result) -> Seen | None:
        """What is known of the file at `path`, which `found` says is there; None if that is
        nothing, or it has changed, or may have."""
        row = self._rows.get(path)
        if row is None or not self._is_old(found) or not row.startswith(_status(found)):
            return None
        self._kept[path] = row
        digest, guessed, reason, despite = _VERDICT.unpack_from(row, _STATUS.size)
        if reason:
            return Seen("", "", False, self._reasons[reason])
        return Seen(digest.hex(), self._reasons[despite], guessed)

    def put(self, path: str, found: os.stat_result | Status, seen: Seen) -> None:
        """Keep `seen` of the file at `path` for the next scan.

        `found` is what the open file was before its content was read.
        """
        if self._is_old(found):
            digest = bytes.fromhex(seen.digest)
            reason, despite = self._place(seen.reason), self._place(seen.despite)
            verdict = _VERDICT.pack(digest, seen.guessed, reason, despite)
            self._kept[path] = _status(found) + verdict
            self._has_new = True

    def save(self, project: Project, key: Key, *, runtime: Runtime = SYSTEM) -> None:
        """Keep, for the next scan, what was put or got in this one, and nothing else.

        Nothing is written where nothing new was put.  Raises `OSError`, `UntrustedError`.
        """
        if not self._has_new:
            return
        with project.open(runtime=runtime) as directory:
            # There is one writer, so one name will do; and no fsync: half a file is no use, and
            # does no harm.
            temporary = f".{SEEN}.new"
            directory.remove(temporary)
            try:
                with directory.writer(temporary) as file:
                    file.writelines(self._written(key))
                directory.rename(temporary, SEEN)
            except BaseException:
                with suppress(OSError):
                    directory.unlink(temporary)
                raise

    def _is_old(self, found: os.stat_result | Status) -> bool:
        """Whether it is older than this scan by both times, so that it cannot change unnoticed.

        What was old for the scan that saw it is so for each later one, unless the clock was set
        back meanwhile: then its times are worth nothing.
        """
        old = self._old_ns if found.st_dev == self._device else self._old_elsewhere_ns
        return 0 <= found.st_mtime_ns < old and 0 <= found.st_ctime_ns < old

    def _place(self, reason: str) -> int:
        if reason not in self._reasons:
            self._reasons.append(reason)
        return self._reasons.index(reason)

    # The file: a line of JSON; then the paths, each with a NUL after it; then a row for each.

    def _written(self, key: Key) -> list[bytes]:
        names = os.fsencode("\0".join([*self._kept, ""]))
        rows = b"".join(self._kept.values())
        if len(names) + len(rows) > _MAX_BYTES - _MAX_HEADER_BYTES:
            return []
        header: dict[str, Any] = {
            "format": _FORMAT,
            "recipe": self._recipe,
            "reasons": self._reasons,
            "rows": len(self._kept),
            "body": _checksum(names, rows),
        }
        header["digest"] = key.digest(header)
        return [json.dumps(header).encode("ascii"), b"\n", names, rows]

    def _parse(self, data: bytes, key: Key) -> None:
        """Raises `ValueError` for what cannot be used."""
        body = data.index(b"\n", 0, _MAX_HEADER_BYTES) + 1
        header = json.loads(data[:body])
        digest = header.pop("digest", None) if isinstance(header, dict) else None
        if digest is None or not key.vouches_for(header, digest):
            raise ValueError("not made by this account")
        # By now it is our own, but perhaps another version's, or not a header.
        if (header.get("format"), header.get("recipe")) != (_FORMAT, self._recipe):
            raise ValueError("made by other rules")
        end = len(data) - header["rows"] * _ROW_BYTES
        names, rows = data[body:end], data[end:]
        if end < body or _checksum(names, rows) != header["body"]:
            raise ValueError("damaged")
        self._reasons = header["reasons"]
        places = range(0, len(rows), _ROW_BYTES)
        paths = os.fsdecode(names).split("\0")  # with an empty one at the end
        self._rows = dict(zip(paths, [rows[at : at + _ROW_BYTES] for at in places], strict=False))


def _status(found: os.stat_result | Status) -> bytes:
    return _STATUS.pack(found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


def _checksum(names: bytes, rows: bytes) -> str:
    checksum = blake2b(names)
    checksum.update(rows)
    return checksum.hexdigest()
