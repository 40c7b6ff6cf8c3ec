"""What of git's index changes a listing: its paths, and what each of them is; no times, no content.

git rewrites its index at each `git status`, and editors run that after each save.  The index may be
anybody's: what cannot be understood, or is split in two, stands for itself as a whole.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

__all__ = ["what_it_lists"]

_HEADER = struct.Struct(">4sII")
_STATUS_BYTES = 40  # of an entry, before the hash
_MODE = 24  # where that is: four bytes
_LENGTH, _EXTENDED = 0x0FFF, 0x4000
_HASHES = (20, 32)


def what_it_lists(data: bytes) -> bytes:
    """A fingerprint of what git lists by the index `data`."""
    listed = None
    if len(data) >= _HEADER.size:
        kind, version, count = _HEADER.unpack_from(data)
        if kind == b"DIRC" and version in (2, 3, 4):
            tried = (_entries(data, version, count, size) for size in _HASHES)
            listed = next((found for found in tried if found is not None), None)
    return blake2b(data if listed is None else listed, digest_size=16).digest()


def _entries(data: bytes, version: int, count: int, hash_bytes: int) -> bytes | None:
    """Mode, flags and path of each entry; None where these are not of hashes of this size."""
    found: list[bytes] = []
    begin, end = _HEADER.size, len(data) - hash_bytes
    fixed = _STATUS_BYTES + hash_bytes
    for _ in range(count):
        at = begin + fixed
        if at + 2 > end:
            return None
        flags = data[at] << 8 | data[at + 1]
        path = at + (4 if flags & _EXTENDED and version > 2 else 2)
        length = flags & _LENGTH
        if version == 4 or length == _LENGTH:
            # A path of the fourth version begins with how much of the last one's end is left out:
            # seven bits a byte, of which all but the last have the eighth set.
            start = path
            while version == 4 and start < end and data[start] & 0x80:
                start += 1
            stop = data.find(b"\0", start + (version == 4), end)
        else:
            stop = path + length
        if stop < 0 or stop >= end or data[stop]:
            return None
        found.append(data[begin + _MODE : begin + _MODE + 4])
        found.append(data[at : stop + 1])
        begin = stop + 1 if version == 4 else begin + (stop - begin + 8 & ~7)
    return b"".join(found) if _is_plain(data, begin, end) else None


def _is_plain(data: bytes, begin: int, end: int) -> bool:
    """Whether only extensions come after the entries, and none that splits the index."""
    while begin < end:
        if begin + 8 > end or data[begin : begin + 4] == b"link":
            return False
        begin += 8 + int.from_bytes(data[begin + 4 : begin + 8], "big")
    return begin == end
