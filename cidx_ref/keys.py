"""The account's key, by which an index that was made here is told from one that came with a clone.

A manifest carries a digest that only this key makes (HMAC-SHA256).  The key lies outside every
project, where the user's state does: `CIDX_REF_STATE_DIR`, else `$XDG_STATE_HOME/cidx-ref`, else
`.local/state/cidx-ref` in the account's home.  It names no path: a project that is moved keeps its
index.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import stat
from contextlib import suppress
from functools import cache
from typing import Any

from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory
from cidx_ref.places import STATE_DIRECTORY, make, state_directory

__all__ = ["KEY_BYTES", "STATE_DIRECTORY", "Key", "account_key"]

_NAME = "key"
KEY_BYTES = 32


class Key:
    """A secret, and what can be done with it.  Immutable."""

    def __init__(self, secret: bytes, *, problem: str | None = None) -> None:
        """`problem`: why this key lasts no longer than the process; None if it lasts."""
        self.secret = secret
        self.problem = problem

    def digest(self, manifest: dict[str, Any]) -> str:
        """What only the holder of the key can say of `manifest`."""
        # The same text for the same values, however the file is laid out.
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
        return hmac.new(self.secret, text.encode("ascii"), "sha256").hexdigest()

    def vouches_for(self, manifest: dict[str, Any], digest: object) -> bool:
        """Whether `digest` is this key's of `manifest`."""
        given = digest.encode("utf-8", "replace") if isinstance(digest, str) else b""
        return hmac.compare_digest(self.digest(manifest).encode(), given)


def account_key() -> Key:
    """The account's key, made if there is none.

    Where none can be kept, or others could have read or written it, the same one for all of this
    process, with what is wrong as its `problem`.
    """
    directory = state_directory()
    try:
        make(directory)
        with Directory.open(directory) as state:
            state.require_own()
            return Key(_read(state) or _make(state))
    except UntrustedError as error:
        return _key_of_this_process(str(error))
    except OSError as error:
        return _key_of_this_process(f"{error.filename or directory}: {error.strerror}")


@cache
def _key_of_this_process(problem: str) -> Key:
    return Key(secrets.token_bytes(KEY_BYTES), problem=problem)


def _read(state: Directory) -> bytes | None:
    found = state.check(_NAME, stat.S_IFREG)
    if found is None:
        return None
    path = state.path / _NAME
    if found.st_mode & 0o077:
        raise UntrustedError(f"{path} can be read or written by other users: remove it")
    secret = state.read(_NAME, KEY_BYTES)
    if len(secret) != KEY_BYTES:
        raise UntrustedError(f"{path} is no key ({len(secret)} bytes): remove it")
    return secret


def _make(state: Directory) -> bytes:
    # Written whole under another name, and linked: of two processes that do so at once one is too
    # late, and takes the key of the other.
    temporary = f".{_NAME}.{secrets.token_hex(8)}"
    try:
        state.create(temporary, secrets.token_bytes(KEY_BYTES))
        with suppress(FileExistsError):
            state.link(temporary, _NAME)
    finally:
        with suppress(OSError):
            state.unlink(temporary)
    secret = _read(state)
    if secret is None:
        raise OSError(2, "the key was removed", os.fspath(state.path / _NAME))
    return secret
