"""rightd: finds words in a directory of source files, and tries to do that right.

    rightd.py serve DIR      serves on DIR/.right/sock
    rightd.py index DIR      indexes, and ends

DIR/.right/config.json: {"ttl_s": 600, "stop_when_idle": false}

Over RPyC, plain arguments and JSON text.  One process per directory: the lock on DIR/.right/lock is
the claim.  One generation at a time is live: DIR/.right/current names it.
"""

import contextlib
import ctypes
import fcntl
import gc
import json
import math
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

FRAME_BYTES = 1 << 20
FRAME_S = 2.0
CONNECTIONS = 128
TICK_S = 0.1
WORD = re.compile(r"\w+")


def words(text):
    return WORD.findall(text.lower())


class BadConfig(Exception):
    pass


class Config:
    def __init__(self, home):
        path = home / "config.json"
        try:
            given = json.loads(path.read_text())
        except FileNotFoundError:
            given = {}
        except ValueError as error:
            raise BadConfig(f"{path}: not JSON: {error}") from None
        if not isinstance(given, dict):
            raise BadConfig(f"{path}: not an object")
        self.ttl_s = given.get("ttl_s", 600)
        if type(self.ttl_s) not in (int, float) or not 0.1 <= self.ttl_s <= 604800:
            raise BadConfig(f"{path}: ttl_s: {self.ttl_s!r} is no number from 0.1 to 604800")
        self.stop_when_idle = given.get("stop_when_idle", False)
        if type(self.stop_when_idle) is not bool:
            raise BadConfig(f"{path}: stop_when_idle: {self.stop_when_idle!r} is not true or false")


# The files


class Files:
    def __init__(self, root):
        self.root = root
        self.home = root / ".right"
        self.home.mkdir(mode=0o700, exist_ok=True)

    def current(self):
        try:
            return (self.home / "current").read_text()
        except FileNotFoundError:
            raise LookupError("there is no index yet") from None

    def live(self):
        """The same; None without one."""
        with contextlib.suppress(LookupError):
            return self.current()
        return None

    @contextlib.contextmanager
    def writing(self):
        """One writer at a time, whichever process it is in; what a dead one left is removed."""
        with open(self.home / "writing", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.sweep()
            yield

    def sweep(self):
        live = self.live()
        for path in self.home.glob("*.tmp"):
            path.unlink()
        for path in self.home.glob("generation-*"):
            if path.name != live:
                path.unlink()

    def publish(self, name, text):
        part = self.home / f"{name}.tmp"
        with open(part, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.home / name)

    def index(self):
        with self.writing():
            rows = []
            for path in sorted(self.root.rglob("*.py")):
                relative = path.relative_to(self.root)
                if not any(part.startswith(".") for part in relative.parts) and path.is_file():
                    text = path.read_text(errors="replace")
                    rows.append([relative.as_posix(), text.splitlines()])
            name = f"generation-{time.time_ns()}"
            self.publish(name, json.dumps(rows))
            self.publish("current", name)
            self.sweep()


class Generation:
    """An index in memory.  It does not change; `users` and `used` are the cache's."""

    def __init__(self, name, rows):
        self.name = name
        self.users = 0
        self.used = time.monotonic()
        self.files = [
            (path, lines, [Counter(words(line)) for line in lines]) for path, lines in rows
        ]
        self.holders = Counter(
            word for _, _, bags in self.files for word in {word for bag in bags for word in bag}
        )

    @classmethod
    def load(cls, files):
        while True:
            name = files.current()
            # A generation that was swept meanwhile has a successor.
            with contextlib.suppress(FileNotFoundError):
                return cls(name, json.loads((files.home / name).read_text()))

    def find(self, query, limit):
        """The files that have a word of it, the best first, each with its best line."""
        wanted = set(words(query))
        if not wanted:
            return self.literally(query.strip(), limit)
        value = {word: math.log(1 + len(self.files) / (1 + self.holders[word])) for word in wanted}
        hits = []
        for path, lines, bags in self.files:
            scores = [sum(value[word] for word in wanted if word in bag) for bag in bags]
            present = sum(value[word] for word in wanted if any(word in bag for bag in bags))
            if present:
                line = max(range(len(lines)), key=lambda n: (scores[n], -n))
                hits.append((present, path, line, lines[line]))
        hits.sort(key=lambda hit: (-hit[0], hit[1]))
        return [
            {"file": path, "line": line + 1, "text": text, "score": round(score, 4)}
            for score, path, line, text in hits[:limit]
        ]

    def literally(self, text, limit):
        return [
            {"file": path, "line": n + 1, "text": line, "score": 1.0}
            for path, lines, _ in self.files
            for n, line in list(enumerate(lines))
            if text and text in line
        ][:limit]


class Cache:
    """The live generation, loaded once however many ask, and let go when nobody has asked for it
    for `ttl_s`."""

    def __init__(self, files, ttl_s):
        self.files, self.ttl_s = files, ttl_s
        self.changed = threading.Condition()
        self.held = None
        self.loading = None
        self.epoch = 0
        self.loads = 0

    @contextlib.contextmanager
    def pinned(self):
        held = self.take()
        try:
            yield held
        finally:
            with self.changed:
                held.users -= 1
                held.used = time.monotonic()

    def take(self):
        with self.changed:
            while True:
                wanted = (self.epoch, self.files.current())
                if self.held is not None and self.held.name == wanted[1]:
                    return self.use(self.held)
                if self.loading != wanted:
                    break
                self.changed.wait()
            self.loading = wanted
        loaded = None
        try:
            loaded = Generation.load(self.files)
        finally:
            with self.changed:
                if self.loading == wanted:
                    self.loading = None
                if loaded is not None:
                    self.loads += 1
                    self.use(loaded)
                    if self.epoch == wanted[0]:
                        self.held = loaded
                self.changed.notify_all()
        return loaded

    def use(self, held):
        held.users += 1
        held.used = time.monotonic()
        return held

    def clear(self):
        with self.changed:
            self.epoch += 1
            self.held = None
        give_back()

    def evict(self):
        with self.changed:
            held = self.held
            if held is None or held.users or time.monotonic() - held.used < self.ttl_s:
                return
            self.epoch += 1
            self.held = held = None
        give_back()


def give_back():
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


# The daemon


class Life:
    """What is in flight, and whether the daemon is leaving."""

    def __init__(self, idle_s):
        self.idle_s = idle_s
        self.changed = threading.Condition()
        self.busy = 0
        self.leaving = threading.Event()
        self.used = time.monotonic()

    @contextlib.contextmanager
    def call(self):
        with self.changed:
            self.busy += 1
        try:
            yield
        finally:
            with self.changed:
                self.busy -= 1
                self.changed.notify_all()

    def admit(self):
        """Refuses what is new once the daemon is leaving."""
        if self.leaving.is_set():
            raise ConnectionRefusedError("shutting down")

    @contextlib.contextmanager
    def use(self):
        """As `admit`; and who uses the daemon keeps it from being idle."""
        self.admit()
        self.used = time.monotonic()
        try:
            yield
        finally:
            self.used = time.monotonic()

    def leave_if_idle(self):
        with self.changed:
            if not self.busy and time.monotonic() - self.used >= self.idle_s:
                self.leaving.set()

    def wait_for_calls(self, seconds):
        with self.changed:
            self.changed.wait_for(lambda: not self.busy, seconds)


def checked(query, limit, fresh):
    if type(query) is not str:
        raise ValueError(f"query: text is wanted, not {type(query).__name__}")
    if type(limit) is not int or limit < 1:
        raise ValueError("limit: a whole number from 1 is wanted")
    if type(fresh) is not bool:
        raise ValueError("fresh: true or false is wanted")


def make_service(files, cache, life):
    """RPyC is imported by the daemon, and not by `index`."""
    import rpyc
    from rpyc.core import consts

    class Plain(rpyc.Connection):
        def _unbox(self, package):
            if package[0] == consts.LABEL_REMOTE_REF:
                raise TypeError("plain values are wanted")
            return super()._unbox(package)

    class Right(rpyc.Service):
        _protocol = Plain
        born = time.monotonic()
        counting = threading.Lock()
        queries = 0

        def exposed_query(self, query, limit=10, fresh=False):
            checked(query, limit, fresh)
            with life.use():
                with self.counting:
                    Right.queries += 1
                if fresh:
                    self.run()
                with cache.pinned() as generation:
                    hits = generation.find(query, limit)
            return json.dumps({"hits": hits, "generation": generation.name})

        def exposed_index(self):
            with life.use():
                self.run()
            return json.dumps({"generation": files.current()})

        def run(self):
            """In a process of its own: queries do not notice."""
            command = [sys.executable, "-P", os.path.abspath(__file__), "index", str(files.root)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError("the index run failed")

        def exposed_clear(self):
            with life.use():
                cache.clear()
            return json.dumps({})

        def exposed_status(self):
            life.admit()
            return json.dumps(
                {
                    "pid": os.getpid(),
                    "loads": cache.loads,
                    "generation": files.live(),
                    "cached": cache.held is not None,
                    "queries": Right.queries,
                    "uptime_s": round(time.monotonic() - self.born, 3),
                }
            )

        def exposed_stop(self):
            life.admit()
            life.leaving.set()
            return json.dumps({})

    return Right()


def make_channel(sock):
    from rpyc.core import Channel, SocketStream

    class Bounded(Channel):
        """A frame is small, and comes in time."""

        def recv(self):
            deadline = time.monotonic() + FRAME_S
            length, compressed = self.FRAME_HEADER.unpack(self.read(5, deadline))
            if length > FRAME_BYTES or compressed > 1:
                raise EOFError("a frame that is too long")
            data = self.read(length + 1, deadline)[:-1]
            if compressed:
                inflate = zlib.decompressobj()
                data = inflate.decompress(data, FRAME_BYTES)
                if inflate.unconsumed_tail or not inflate.eof:
                    raise EOFError("a frame that is too long")
            return data

        def read(self, count, deadline):
            data = bytearray()
            while len(data) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise EOFError("a frame that is too slow")
                sock.settimeout(left)
                piece = sock.recv(min(65536, count - len(data)))
                if not piece:
                    raise EOFError("the peer is gone")
                data += piece
            sock.settimeout(FRAME_S)
            return bytes(data)

    sock.settimeout(FRAME_S)
    return Bounded(SocketStream(sock))


class Server:
    def __init__(self, files, service, life):
        self.files, self.service, self.life = files, service, life
        self.home = os.open(files.home, os.O_RDONLY | os.O_DIRECTORY)
        self.listener = socket.socket(socket.AF_UNIX)
        self.connections = {}  # socket -> whether, and when, it was heard
        self.lock = threading.Lock()

    def listen(self):
        """Under a name of its own first: the socket has its name only when it accepts."""
        short = f"/proc/self/fd/{self.home}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink("sock.new", dir_fd=self.home)
        old = os.umask(0o177)
        self.listener.bind(f"{short}/sock.new")
        os.umask(old)
        self.listener.listen(CONNECTIONS)
        self.inode = os.stat("sock.new", dir_fd=self.home).st_ino
        os.rename("sock.new", "sock", src_dir_fd=self.home, dst_dir_fd=self.home)

    def is_mine(self, path, dir_fd=None):
        try:
            return os.stat(path, dir_fd=dir_fd).st_ino == self.inode
        except FileNotFoundError:
            return False

    def reachable(self):
        return self.is_mine(self.files.home / "sock")

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                if self.life.leaving.is_set():
                    return
                time.sleep(TICK_S)  # no descriptor left: some will be closed
                continue
            with self.lock:
                if len(self.connections) >= CONNECTIONS:
                    quiet = min(self.connections, key=self.connections.__getitem__)
                    with contextlib.suppress(OSError):
                        quiet.shutdown(socket.SHUT_RDWR)
                    del self.connections[quiet]
                self.connections[sock] = (False, time.monotonic())
            threading.Thread(target=self.talk, args=(sock,), daemon=True).start()

    def talk(self, sock):
        config = {
            "include_local_traceback": False,
            "sync_request_timeout": FRAME_S,
            "log_exceptions": False,
        }
        connection = None
        try:
            connection = self.service._connect(make_channel(sock), config)
            while True:
                select.select([sock], [], [])
                with self.lock:
                    if sock in self.connections:
                        self.connections[sock] = (True, time.monotonic())
                with self.life.call():
                    connection.serve(0)
                if connection.closed:
                    return
        except Exception:  # whatever it was, it ends this connection and no other
            pass
        finally:
            with self.lock:
                self.connections.pop(sock, None)
            if connection is not None:
                with contextlib.suppress(Exception):
                    connection.close()
            sock.close()

    def leave(self):
        """No new clients, then no new calls, then the answers that are owed."""
        if self.is_mine("sock", self.home):
            os.unlink("sock", dir_fd=self.home)
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.life.wait_for_calls(10)
        with self.lock:
            for sock in self.connections:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def claimed(claim):
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def answers(path):
    home = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(f"/proc/self/fd/{home}/{path.name}")
            return True
    except OSError:
        return False
    finally:
        os.close(home)


def serve(files):
    life = Life(math.inf)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: life.leaving.set())
    config = Config(files.home)
    if config.stop_when_idle:
        life.idle_s = config.ttl_s
    claim = open(files.home / "lock", "w")  # noqa: SIM115 - held for life
    while not claimed(claim):
        # A daemon that is leaving has no socket any more, and starting one has none yet.
        if answers(files.home / "sock"):
            print("rightd: already serving", flush=True)
            return 0
        if life.leaving.wait(TICK_S / 5):
            return 0
    with files.writing():
        pass
    cache = Cache(files, config.ttl_s)
    server = Server(files, make_service(files, cache, life), life)
    server.listen()
    threading.Thread(target=server.accept, daemon=True).start()
    print("rightd: serving", flush=True)
    while not life.leaving.wait(TICK_S):
        cache.evict()
        life.leave_if_idle()
        if not server.reachable():
            break
    life.leaving.set()
    server.leave()
    return 0


def main():
    verb, root = sys.argv[1:]
    files = Files(Path(root).resolve())
    if verb == "index":
        files.index()
        return 0
    try:
        return serve(files)
    except BadConfig as error:
        print(f"rightd: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
