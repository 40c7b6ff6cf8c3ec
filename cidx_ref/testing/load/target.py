"""The daemon under load: one of the session's own, or one that is there already."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cidx_ref.interpreter import python_command

__all__ = ["KeptDaemon", "project_of", "socket_of"]

_END_TIMEOUT_S = 60.0


def socket_of(host: str) -> Path:
    """The path in `unix:///path/to/daemon.sock`.  Raises `ValueError`."""
    scheme, _, path = host.partition("://")
    if scheme != "unix" or not path.startswith("/"):
        raise ValueError(f"host: {host!r}: must be unix:///path/to/daemon.sock")
    return Path(path)


def project_of(socket: Path) -> Path:
    """The project whose socket this is, by the story's layout: two directories above it."""
    return socket.parent.parent


class KeptDaemon:
    """A daemon on a temporary copy of real source, that ends with this process at the latest."""

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        source: Path | None = None,
        command: Sequence[str] = (),
    ) -> None:
        """Returns once it accepts.  Raises `RuntimeError` if it does not."""
        given = {
            "source": str(source.resolve()) if source else None,
            "config": dict(config),
            "command": list(command),
        }
        argv, environment = python_command("cidx_ref.testing.load.keeper", json.dumps(given))
        self._process = subprocess.Popen(
            argv,
            env=environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the session
            text=True,
        )
        said = _pipe(self._process.stdout).readline()
        if not said:
            self.end()
            raise RuntimeError("the daemon could not be started; see above")
        where = json.loads(said)
        self.root = Path(where["root"])
        self.socket = Path(where["socket"])

    def end(self) -> None:
        """End the daemon, and return when nothing is left."""
        for pipe in (self._process.stdin, self._process.stdout):
            _pipe(pipe).close()
        self._process.wait(_END_TIMEOUT_S)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
