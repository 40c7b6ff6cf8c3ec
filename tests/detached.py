"""Runs a program as a classic daemon: `python detached.py PROGRAM ARGUMENT...` forks, leaves
session and group, forks again, and ends with status 0 once the program has said its first line.
What is left has no parent that was started, and no session of one.
"""

from __future__ import annotations

import os
import sys

read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        os.dup2(write, 1)
        os.execv(sys.executable, [sys.executable, "-P", *sys.argv[1:]])
    os._exit(0)
os.close(write)
os.wait()
with os.fdopen(read) as said:
    print(said.readline(), end="", flush=True)
