"""The daemon under load: one of the session's own, or one that is there already."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cidx_ref.interpreter import python_command

__all__ = ["KeptDaemon", "project_at"]

_END_TIMEOUT_S = 60.0


def project_at(host: str, named: str | None = None) -> Path:
    """The directory that the daemon at `host` serves: as it was named, or else by the story's
    layout, two directories above its socket.  Raises `ValueError` if that cannot be told."""
    if named:
        return Path(named).absolute()
    scheme, _, path = host.partition("://")
    if scheme != "unix" or not path.startswith("/"):
        raise ValueError(f"host: {host!r}: not unix:///path/to/daemon.sock: give --project DIR")
    return Path(path).parent.parent


class KeptDaemon:
    """A daemon on a temporary copy of real source, that ends with this process at the latest."""

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        environment: Mapping[str, str],
        source: Path | None = None,
        command: Sequence[str] = (),
    ) -> None:
        """Returns once it accepts.  Raises `RuntimeError` if it does not."""
        given = {
            "source": str(source.resolve()) if source else None,
            "config": dict(config),
            "environment": dict(environment),
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
        try:
            said = _pipe(self._process.stdout).readline()
        except BaseException:  # who waits here may be killed, and then nobody else can end it
            self.end()
            raise
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
