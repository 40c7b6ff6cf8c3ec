"""The session's own daemon: kept by a process of its own, which ends it with the session."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from cidx_ref.testing.ground import python_command

__all__ = ["KeptDaemon"]

_END_TIMEOUT_S = 60.0


class KeptDaemon:
    """A daemon that ends with this process at the latest."""

    def __init__(self, keeper: str, given: Mapping[str, Any]) -> None:
        """`keeper` is a program like `load.keeper`, and `given` what it is told.

        Returns once the daemon accepts.  Raises `RuntimeError` if it does not; why was printed.
        """
        argv, environment = python_command(keeper, json.dumps(given))
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
            where = self._heard()
        except BaseException:  # who waits here may be killed, and then nobody else can end it
            self.end()
            raise
        self.root = Path(where["root"])
        self.host = str(where["host"])

    def start_again(self) -> None:
        """Have another daemon started where none accepts.  Raises `RuntimeError`."""
        stdin = _pipe(self._process.stdin)
        stdin.write("start\n")
        stdin.flush()
        self._heard()

    def end(self) -> None:
        """End the daemon, and return when nothing is left."""
        for pipe in (self._process.stdin, self._process.stdout):
            _pipe(pipe).close()
        self._process.wait(_END_TIMEOUT_S)

    def _heard(self) -> dict[str, Any]:
        said = _pipe(self._process.stdout).readline()
        if not said:
            self.end()
            raise RuntimeError("the daemon could not be started; see above")
        heard: dict[str, Any] = json.loads(said)
        if error := heard.get("error"):
            raise RuntimeError(error)
        return heard


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
