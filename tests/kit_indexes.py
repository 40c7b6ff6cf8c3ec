"""`python kit_indexes.py serve PROJECT [--defect NAME]`, `... write PROJECT`: a daemon with an
index on disk and one in memory, as a stranger might have written it, right in all it offers, or
with one defect.

It knows nothing of this package.  The checks of `cidx_ref.testing.conformance` must find each
defect, and blame nothing in the one without.
"""

# ruff: noqa: TID251  - a stranger's program takes time and threads where it finds them

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import rpyc
from rpyc.utils.server import ThreadedServer

WORD = re.compile(r"[a-z]+")
DEFECT = ""
#: What reading one file takes, beside the reading.
FILE_S = 0.0003
CHECK_S = 0.1


def has(defect: str) -> bool:
    return defect == DEFECT


class Store:
    """On disk: `N.json` for each index, and `current`, which names the live one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = root / ".otherd"
        self.place.mkdir(mode=0o700, exist_ok=True)

    def current(self) -> str:
        return (self.place / "current").read_text()

    def read(self, name: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.place / name).read_text())
        return data

    def files(self) -> dict[str, tuple[int, int, int]]:
        found = {}
        for path in sorted(self.root.rglob("*.py")):
            stat = path.stat()
            found[path.relative_to(self.root).as_posix()] = (
                stat.st_mtime_ns,
                stat.st_size,
                stat.st_ino,
            )
        return found

    def write(self) -> bool:
        """Bring the index up to date; whether there was something to do."""
        with (self.place / "writer.lock").open("w") as lock:
            if not has("writers_do_not_wait"):
                fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                old = self.read(self.current())
            except (OSError, ValueError):
                old = {"files": {}, "number": 0}
            new = self.made(old)
            if new is None:
                return False
            self.publish(old, new)
            return True

    def made(self, old: dict[str, Any]) -> dict[str, Any] | None:
        files, there = {}, self.files()
        for name, stamp in there.items():
            known = old["files"].get(name)
            if known and tuple(known["stamp"]) == stamp and not has("all_anew"):
                files[name] = known
                continue
            time.sleep(FILE_S)
            lines = (self.root / name).read_text("utf-8").splitlines()
            files[name] = {"stamp": stamp, "lines": lines}
        if has("keeps_what_is_gone"):
            files = {**old["files"], **files}
        if files == {name: old["files"].get(name) for name in files} == old["files"]:
            return None
        if has("all_anew"):
            time.sleep(FILE_S * len(files))
        return {"number": old["number"] + 1, "files": files}

    def publish(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        text, name = json.dumps(new), f"{new['number']}.json"
        if has("writes_in_place"):
            name = "only.json"
        path = self.place / name
        middle = text.index('"meadow.py"')
        if has("writes_in_place") or has("writers_do_not_wait"):
            half = dict(new, files={k: v for k, v in new["files"].items() if k != "meadow.py"})
            path.write_text(json.dumps(half))
            (self.place / "current").write_text(name)
            time.sleep(0.25)
            if has("writers_do_not_wait") and (self.place / "busy").exists():
                return
            path.write_text(text)
        else:
            assert middle
            whole = path.with_suffix(f".{os.getpid()}")
            whole.write_text(text)
            whole.replace(path)
        if has("takes_away_first"):
            (self.place / "current").unlink(missing_ok=True)
            time.sleep(0.2)
        link = self.place / f"current.{os.getpid()}"
        link.write_text(name)
        link.replace(self.place / "current")
        for number in range(1, new["number"] - 3):
            (self.place / f"{number}.json").unlink(missing_ok=True)


class Unusable(Exception):  # noqa: N818 - what went wrong
    """There is no index, or none that can be read."""


class Entry:
    """An index in memory."""

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        self.name, self.data = name, data
        self.used = self.loaded = time.monotonic()
        self.ballast = b"x" * 2_000_000


class Cache:
    def __init__(self, store: Store, ttl_s: float) -> None:
        self.store, self.ttl_s = store, ttl_s
        self.mutex = threading.Lock()
        self.loading = threading.Lock()
        self.entry: Entry | None = None
        self.epoch = self.loads = 0
        self.failed: Exception | None = None
        self.kept: list[Entry] = []

    def get(self) -> Entry:
        with self.mutex:
            entry = self.entry
        if entry is not None and self.is_live(entry):
            if not has("counts_from_the_load"):
                entry.used = time.monotonic()
            return entry
        if has("everybody_loads"):
            return self.load()
        with self.loading:
            entry = self.entry
            if entry is not None and self.is_live(entry):
                return entry
            return self.load()

    def is_live(self, entry: Entry) -> bool:
        if DEFECT in ("never_looks", "looks_when_it_has_indexed", "installs_what_is_stale"):
            return True
        try:
            return entry.name == self.store.current()
        except OSError:
            return False

    def load(self) -> Entry:
        if self.failed and has("remembers_a_failure"):
            raise self.failed
        with self.mutex:
            epoch = self.epoch
        try:
            name = self.store.current()
            data = self.store.read(name)
        except (OSError, ValueError) as error:
            self.failed = Unusable(f"no index: {type(error).__name__}")
            raise self.failed from None
        with self.mutex:
            self.loads += 1
        entry = Entry(name, data)
        if has("everybody_loads"):
            time.sleep(0.02)
        if has("installs_what_is_stale"):
            time.sleep(0.03)
        with self.mutex:
            if epoch == self.epoch or has("installs_what_is_stale"):
                self.entry = entry
        return entry

    def clear(self) -> None:
        with self.mutex:
            if self.entry and has("keeps_what_it_clears"):
                self.kept.append(self.entry)
            self.entry, self.epoch = None, self.epoch + 1

    def check(self) -> None:
        with self.mutex:
            entry, now = self.entry, time.monotonic()
            ttl_s = self.ttl_s * {"is_gone_too_early": 0.4, "lives_for_ever": 1e9}.get(DEFECT, 1.0)
            if entry is not None and now - entry.used >= ttl_s:
                self.entry = None


class Daemon(rpyc.Service):  # type: ignore[misc]
    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        self.store = Store(root)
        self.cache = Cache(self.store, options.ttl_s)
        self.ended = threading.Event()
        self.indexing = threading.Lock()
        self.one_at_a_time = threading.Lock()
        self.is_indexing = False
        self.remembered: list[str] = []

    # Asked.

    def exposed_search(self, query: Any = "", limit: Any = 10, fresh: bool = False) -> str:
        return self.found(query, limit, fresh, 0.12 if has("is_slow") else 0.0)

    def exposed_search_words(self, query: Any = "", limit: Any = 10, fresh: bool = False) -> str:
        return self.found(query, limit, fresh, 0.03 if has("is_slow") else 0.0)

    def found(self, query: Any, limit: Any, fresh: bool, slow_s: float) -> str:
        if type(query) is not str or type(limit) is not int or limit < 1:
            if has("errors_empty_the_cache"):
                self.cache.clear()
            raise ValueError("query and limit: text, and a number above 0")
        if fresh and not has("fresh_is_a_word"):
            self.index()
        if has("waits_for_the_index"):
            with self.indexing:
                pass
        time.sleep(slow_s + (0.15 if has("is_slow_at_a_publish") and self.is_indexing else 0.0))
        if has("lets_one_search"):
            with self.one_at_a_time:
                time.sleep(0.008)
        entry = self.cache.get()
        if has("takes_it_twice"):
            time.sleep(0.001)
            entry = self.cache.entry  # type: ignore[assignment]
        answer = json.dumps(self.hits(entry, query, limit))
        if has("remembers_answers"):
            self.remembered.append(answer + "x" * 20_000)
        return answer

    def hits(self, entry: Entry, query: str, limit: int) -> list[dict[str, Any]]:
        wanted, found = set(WORD.findall(query.lower())), []
        other = entry
        if has("answers_from_two") and self.is_indexing:
            other = self.cache.get()
        for name, file in entry.data["files"].items():
            if name == "meadow.py" and has("answers_from_two"):
                time.sleep(0.02 if self.is_indexing else 0)
                other = self.cache.get()
                file = other.data["files"][name]
            for number, line in enumerate(file["lines"], 1):
                if score := len(wanted & set(WORD.findall(line))):
                    found.append((-score, name, number, line, file["stamp"]))
        found.sort(key=lambda hit: hit[:3])
        best: dict[str, tuple[int, str, Any]] = {}
        for _, name, number, line, stamp in found:
            best.setdefault(name, (number, line, stamp))
        return [
            {"file": name, "line": number, "text": line, "changed": self.changed(name, stamp)}
            for name, (number, line, stamp) in list(best.items())[:limit]
        ]

    def changed(self, name: str, stamp: Any) -> bool:
        if has("says_nothing_of_changes"):
            return False
        try:
            stat = (self.store.root / name).stat()
        except OSError:
            return True
        return tuple(stamp) != (stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def exposed_rebuild(self) -> str:
        self.index()
        return json.dumps({"status": "completed"})

    def index(self) -> None:
        with self.indexing:
            self.is_indexing = True
            try:
                self.store.write()
                if not has("never_looks"):
                    self.cache.clear()
            finally:
                self.is_indexing = False

    def exposed_flush(self) -> str:
        self.cache.clear()
        return "{}"

    def exposed_stats(self) -> str:
        cached = self.cache.entry is not None
        return json.dumps({"reads": self.cache.loads, "cached": cached, "pid": os.getpid()})

    def exposed_quit(self) -> str:
        self.ended.set()
        return "{}"

    # Not asked.

    def evict(self) -> None:
        step_s = 8.0 if has("sleeps_through_a_stop") else CHECK_S
        while not self.ended.wait(CHECK_S):
            if not has("never_checks"):
                self.cache.check()
        if has("sleeps_through_a_stop"):
            time.sleep(step_s)

    def watch(self) -> None:
        seen: Any = None
        while not self.ended.wait(0.2):
            now = self.store.files()
            if now != seen and (self.store.place / "current").exists():
                self.index()
                seen = now


def claim(store: Store) -> Any:
    """The lock, for life; None where another has it."""
    path = store.place / "otherd.sock"
    if has("asks_and_binds"):
        probe = socket.socket(socket.AF_UNIX)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return probe
        return None
    if has("a_socket_is_a_daemon") and path.exists():
        return None
    lock = (store.place / "daemon.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    return lock


def serve(root: Path, options: argparse.Namespace) -> int:
    store = Store(root)
    lock = claim(store)
    if lock is None:
        print("there is one", flush=True)
        return 3
    if has("is_slow_to_start"):
        time.sleep(1.3)
    service = Daemon(root, options)
    path = store.place / "otherd.sock"
    bound = path if has("asks_and_binds") else path.with_suffix(f".{os.getpid()}")
    if has("asks_and_binds"):
        time.sleep(0.05)
        path.unlink(missing_ok=True)
    server = ThreadedServer(service, socket_path=str(bound))
    signal.signal(signal.SIGTERM, lambda *_: service.ended.set())
    threading.Thread(target=server.start, daemon=True).start()
    while not server.active:
        time.sleep(0.001)
    if bound != path:
        bound.rename(path)
    print("ready", flush=True)
    evicting = threading.Thread(target=service.evict)
    evicting.start()
    if options.watch and not has("watches_nothing"):
        threading.Thread(target=service.watch, daemon=True).start()
    service.ended.wait()
    path.unlink(missing_ok=True)
    evicting.join()
    os._exit(0)


def main() -> int:
    global DEFECT
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("serve", "write"))
    parser.add_argument("project", type=Path)
    parser.add_argument("--defect", default="")
    options = parser.parse_args()
    DEFECT = options.defect
    options.ttl_s = float(os.environ.get("OTHERD_TTL_S", "600"))
    options.watch = os.environ.get("OTHERD_WATCH", "false") == "true"
    root = options.project.resolve()
    if options.what == "write":
        Store(root).write()
        return 0
    return serve(root, options)


if __name__ == "__main__":
    sys.exit(main())
