"""otterd: finds things in a directory of source files.

    otterd.py run DIR        serves on DIR/.otter/run/otter.sock
    otterd.py rebuild DIR    builds a raft (that is what an index is called here), and ends

OTTER_TTL_S: seconds a raft stays in memory.  OTTER_IDLE=true: the otter leaves after as long alone.
"""

import contextlib
import fcntl
import json
import math
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

UNPACKING_S = 0.3
SOAKING_S = 0.6
WORD = re.compile(r"\w+")


def words(text):
    return WORD.findall(text.lower())


class Hit:
    def __init__(self, path, line, text, weight):
        self.path, self.line, self.text, self.weight = path, line, text, weight


class Report:
    """What `stats` answers."""

    def __init__(self, **values):
        self.__dict__.update(values)


class Den:
    """The files under DIR/.otter."""

    def __init__(self, root):
        self.root = Path(root)
        self.home = self.root / ".otter"
        self.rafts = self.home / "rafts"
        self.run = self.home / "run"
        self.rafts.mkdir(parents=True, exist_ok=True)
        self.run.mkdir(parents=True, exist_ok=True)

    def current(self):
        try:
            return (self.home / "current").read_text()
        except FileNotFoundError:
            return ""

    def sources(self):
        for path in sorted(self.root.rglob("*.py")):
            if ".otter" not in path.parts:
                yield path

    def build(self):
        """One builder at a time, in this process or another.  Returns the raft's name."""
        with self.alone():
            lines = []
            for path in self.sources():
                name = path.relative_to(self.root).as_posix()
                text = path.read_text(errors="replace")
                lines += [[name, n, line] for n, line in enumerate(text.splitlines(), 1)]
            time.sleep(SOAKING_S)
            name = f"raft-{time.time_ns()}"
            part = self.rafts / f"{name}.part"
            part.write_text(json.dumps(lines))
            part.rename(self.rafts / name)
            step = self.home / "current.part"
            step.write_text(name)
            step.rename(self.home / "current")
            return name

    @contextlib.contextmanager
    def alone(self):
        """Nobody else builds, and what others left behind is gone: only the current raft stays.  A
        reader that comes too late for its raft asks again."""
        with open(self.home / "build.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (self.home / "current.part").unlink(missing_ok=True)
            for path in self.rafts.iterdir():
                if path.name != self.current():
                    path.unlink()
            yield


class Raft:
    """An index in memory, which never changes."""

    def __init__(self, name, lines):
        self.name = name
        self.lines = [(path, n, text, Counter(words(text))) for path, n, text in lines]
        self.seen = Counter(word for *_, bag in self.lines for word in bag)
        self.loaded = time.monotonic()

    @classmethod
    def load(cls, den):
        while True:
            name = den.current()
            if not name:
                raise LookupError("no raft has been built")
            try:
                lines = json.loads((den.rafts / name).read_text())
            except FileNotFoundError:
                continue
            time.sleep(UNPACKING_S)
            return cls(name, lines)

    def weight(self, word):
        return math.log(1 + len(self.lines) / (1 + self.seen[word]))

    def find(self, query, top):
        """The best line of each file, the best file first."""
        wanted = set(words(query))
        if not wanted:
            return self.literally(query, top)
        best = {}
        for path, n, text, bag in self.lines:
            weight = sum(self.weight(word) for word in wanted if word in bag)
            if weight and (path not in best or weight > best[path].weight):
                best[path] = Hit(path, n, text, weight)
        return sorted(best.values(), key=lambda hit: (-hit.weight, hit.path))[:top]

    def literally(self, query, top):
        wanted = query.strip()
        found = {}
        for path, n, text, _ in self.lines:
            if wanted and wanted in text and path not in found:
                found[path] = Hit(path, n, text, 1.0)
        return list(found.values())[:top]


def checked(query, top):
    if type(query) is not str:
        raise ValueError(f"query: text is wanted, not {type(query).__name__}")
    if type(top) is not int or top < 1:
        raise ValueError("top: a whole number from 1 is wanted")


class Otter:
    """All that is shared between the connections."""

    def __init__(self, den, ttl_s, idle):
        self.den, self.ttl_s, self.idle = den, ttl_s, idle
        self.gate = threading.Lock()
        self.raft = None
        self.sunk = None
        self.epoch = 0
        self.disk_reads = self.asked = self.busy = 0
        self.last_asked = None
        self.born = time.monotonic()
        threading.Thread(target=self.tide, daemon=True).start()

    def aboard(self):
        """The current raft, from memory if it is there."""
        with self.gate:
            if self.sunk:
                raise LookupError(self.sunk)
            epoch = self.epoch
            raft = self.raft
        if raft is not None and raft.name == self.den.current():
            return raft
        try:
            raft = Raft.load(self.den)
        except LookupError as missing:
            self.sunk = str(missing)
            raise
        with self.gate:
            self.disk_reads += 1
            if self.epoch == epoch:
                self.raft = raft
        return raft

    def drop(self):
        self.epoch += 1
        self.raft = self.sunk = None

    def ask(self, how, query, top):
        checked(query, top)
        self.begin()
        try:
            return how(self.aboard(), query, top)
        finally:
            self.end()

    def begin(self):
        with self.gate:
            self.asked += 1
            self.busy += 1
            self.last_asked = time.monotonic()

    def end(self):
        with self.gate:
            self.busy -= 1
            self.last_asked = time.monotonic()

    def rebuild(self):
        with self.gate:
            self.busy += 1
            try:
                name = self.den.build()
                self.drop()
            finally:
                self.busy -= 1
                self.last_asked = time.monotonic()
        return name

    def tide(self):
        """Old rafts go out, and so does an otter that was left alone."""
        while True:
            time.sleep(min(self.ttl_s / 4, 5))
            with self.gate:
                now = time.monotonic()
                if self.raft is not None and now - self.raft.loaded >= self.ttl_s:
                    self.drop()
                if self.idle and self.last_asked is not None and not self.busy:
                    if now - self.last_asked >= self.ttl_s:
                        (self.den.run / "otter.sock").unlink(missing_ok=True)
                        os._exit(0)


def service(otter):
    import rpyc

    class OtterService(rpyc.Service):
        def __init__(self):
            self.otter = otter

        def on_connect(self, conn):
            # Somebody to keep the guest company.
            threading.Thread(target=threading.Event().wait, daemon=True).start()

        def exposed_search(self, query, top=10):
            return otter.ask(Raft.find, query, top)

        def exposed_exact(self, query, top=10):
            return otter.ask(Raft.find, query, top)

        def exposed_rebuild(self):
            return otter.rebuild()

        def exposed_flush(self):
            with otter.gate:
                otter.drop()

        def exposed_stats(self):
            with otter.gate:
                return Report(
                    os_pid=os.getpid(),
                    disk_reads=otter.disk_reads,
                    asked=otter.asked,
                    raft=otter.den.current(),
                    aboard=otter.raft is not None,
                    up_s=time.monotonic() - otter.born,
                )

        def exposed_quit(self):
            threading.Timer(0.05, os._exit, [0]).start()
            return "bye"

    return OtterService()


def run(den):
    from rpyc.utils.server import ThreadedServer

    lock = open(den.run / "lock", "w")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("otterd: this river has its otter", flush=True)
        return 3
    address = den.run / "otter.sock"
    address.unlink(missing_ok=True)
    with den.alone():
        pass
    ttl_s = float(os.environ.get("OTTER_TTL_S", "300"))
    otter = Otter(den, ttl_s, os.environ.get("OTTER_IDLE") == "true")
    server = ThreadedServer(
        service(otter),
        socket_path=str(address),
        protocol_config={"allow_public_attrs": True, "include_local_traceback": False},
    )
    server._listen()
    print(f"otterd: swimming in {den.run}", flush=True)
    server.start()
    return 0


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    verb, root = sys.argv[1:]
    den = Den(Path(root).resolve())
    if verb == "rebuild":
        print(den.build())
        return 0
    return run(den)


if __name__ == "__main__":
    sys.exit(main())
