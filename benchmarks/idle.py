"""What daemons take while nobody asks them anything, all of them side by side."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from cidx_ref.client import DaemonClient
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import build, end_daemon

__all__ = ["Idle", "measured"]

#: Of each kind so many.
_OF_EACH = 3
#: "never" watched anything, and has no index loaded; "loaded" has one, and never watched; "rests"
#: has watched, and has no index loaded any more; "watches" has one, and watches.
_KINDS = ("never", "loaded", "rests", "watches")


@dataclass(frozen=True)
class Idle:
    """Megabytes, in proportion where pages are shared; milliseconds of processor time a second."""

    mb: float
    cpu_ms: float
    threads: float


def measured(above: Path, stdlib: Project, seconds: float) -> dict[str, Idle]:
    """The medians of each kind."""
    with ExitStack() as stack:
        daemons = {
            kind: [_used_once(above / f"{kind}{number}", kind, stdlib, stack)
                   for number in range(_OF_EACH)]
            for kind in _KINDS
        }  # fmt: skip
        everyone = [pid for pids in daemons.values() for pid in pids]
        SYSTEM.sleep(2.0)  # what they have begun is over
        before = {pid: _cpu_ms(pid) for pid in everyone}
        SYSTEM.sleep(seconds)
        used = {pid: (_cpu_ms(pid) - before[pid]) / seconds for pid in everyone}
        taken = {pid: psutil.Process(pid).memory_full_info().pss / 1e6 for pid in everyone}
        threads = {pid: float(psutil.Process(pid).num_threads()) for pid in everyone}
    return {
        kind: Idle(*(median(each[pid] for pid in pids) for each in (taken, used, threads)))
        for kind, pids in daemons.items()
    }


def _used_once(root: Path, kind: str, stdlib: Project, stack: ExitStack) -> int:
    """The process id of a daemon that was asked once."""
    shutil.copytree(stdlib.root / "json", root / "json")
    shutil.copytree(stdlib.root / "email", root / "email")
    project = Project.at(root)
    build(project)
    watches = kind in ("rests", "watches")
    project.config_path.write_text(json.dumps({"daemon": {"watch": watches}}))
    stack.callback(end_daemon, project)
    with DaemonClient(project) as client:
        client.query("parse")
        while watches and client.status()["watch"]["mode"] != "watching":  # type: ignore[index]
            SYSTEM.sleep(0.05)
        if kind in ("never", "rests"):
            client.clear_cache()
        return client.ping()["pid"]


def _cpu_ms(pid: int) -> float:
    """What all threads have used; the system's count by ticks would be too coarse."""
    found = [task.read_text("ascii") for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(each.split()[0]) for each in found) / 1e6
