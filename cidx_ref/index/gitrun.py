"""Running git in a checkout that may be hostile: on a private directory, with what it might run or
fetch switched off, and under limits.

How that directory comes about, and what git is asked, is the matter of `git`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cidx_ref.index.limited import Limits, run
from cidx_ref.interpreter import without_secrets
from cidx_ref.runtime import Runtime

__all__ = ["Git"]

#: Those GIT_* of the environment that say where the user's own configuration is.
_USERS_OWN = {"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"}
# The private directory gives no reason for any of what these forbid: they are a second lock.
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
_SETTINGS = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.quotePath=false",
    "protocol.allow=never",
    "index.threads=1",  # else git trusts a table of offsets in the index
]
# A sparse index is not to be expanded: that takes objects, which there are none of.
_SPARSE_SETTINGS = [
    "core.sparseCheckout=true",
    "core.sparseCheckoutCone=true",
    "index.sparse=true",
    "sparse.expectFilesOutsideOfPatterns=true",
]


@dataclass(frozen=True, slots=True)
class Git:
    """Git, which is `program`, in `root` of the checkout `top`, `directory` being its `.git`."""

    program: str
    root: Path
    top: Path
    directory: Path
    runtime: Runtime
    limits: Limits

    def list_paths(
        self, arguments: list[str], *, end: str = "\0", fine: Collection[int] = ()
    ) -> list[str]:
        """What git prints, by paths, each with an `end`.  Raises `FailedError`, unless it ends with
        a status that is `fine`."""
        return list(filter(None, os.fsdecode(self.read(arguments, fine=fine)).split(end)))

    def read(self, arguments: list[str], *, told: bytes = b"", fine: Collection[int] = ()) -> bytes:
        """What git prints, being told `told`.  Raises `FailedError`, as `list_paths` does."""
        chosen = [*_SETTINGS, *(_SPARSE_SETTINGS if "--sparse" in arguments else [])]
        settings = [word for setting in chosen for word in ("-c", setting)]
        return run(
            [self.program, "--no-pager", *settings, *arguments],
            cwd=self.root,
            env=self._environment(),
            limits=self.limits,
            runtime=self.runtime,
            fine=fine,
            told=told,
        )

    def _environment(self) -> dict[str, str]:
        own = {name: os.environ[name] for name in _USERS_OWN if name in os.environ}
        return (
            without_secrets(os.environ)
            | own
            | _ENVIRONMENT
            | {
                "GIT_DIR": str(self.directory),
                "GIT_INDEX_FILE": str(self.directory / "index"),
                "GIT_WORK_TREE": str(self.top),
            }
        )
