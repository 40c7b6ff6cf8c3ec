"""Runs commands of the command line, and prints as JSON what each of them said.

For tests whose commands run in a process of another kind: with mounts of its own.  The arguments
are a JSON list of command lines; `serve` is waited for until it serves, and then ended.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys


def run(line: list[str]) -> tuple[int, str, str]:
    command = [sys.executable, "-P", "-m", "cidx_ref", *line]
    if line[0] != "serve":
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout, done.stderr
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
    return process.returncode, said, ""


if __name__ == "__main__":
    outcomes = []
    try:
        outcomes = [run(line) for line in json.loads(sys.argv[1])]
    finally:
        run(["stop"])
    print(json.dumps(outcomes))
