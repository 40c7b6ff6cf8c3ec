"""`python kit_daemons.py PROJECT [--defect NAME] [--style STYLE] [--slow S]`: a small daemon in the
manner of the story's sample, right in all it offers, or with one defect.

Its answers are references, objects, values or JSON (`--style`).  `--slow S` has a query of 100,000
characters take S seconds; `--hold-at search GATE` and `--fail-at search GATE` have one wait, or
fail, by a file.  It knows nothing of this package: what is judged is what a stranger
wrote.  The checks of `cidx_ref.testing.conformance` must find each defect, and blame no style.
"""

# ruff: noqa: TID251, N818  - a stranger's program, with its own ways

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rpyc
from rpyc.utils.server import Server, ThreadedServer, ThreadPoolServer

WORD = re.compile(r"[a-z]+")


class Refusal(ValueError):
    """A bad argument, by its name."""


class ShuttingDown(Exception):
    """No more calls are taken."""


class Index:
    """Lines, by their words."""

    def __init__(self, root: Path) -> None:
        self.lines = [
            (path.relative_to(root).as_posix(), number, line, set(WORD.findall(line.lower())))
            for path in sorted(root.rglob("*.py"))
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        ]

    def search(self, query: str, limit: int) -> list[dict[str, Any]]:
        wanted = set(WORD.findall(query.lower()))
        found = [
            (-len(wanted & words), path, number, line)
            for path, number, line, words in self.lines
            if wanted & words
        ]
        return [
            {"path": path, "line": number, "text": line, "score": -rank}
            for rank, path, number, line in sorted(found)[:limit]
        ]


class Hit:
    """As an object, of which clients see the exposed attributes."""

    def __init__(self, fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            setattr(self, f"exposed_{name}", value)

    def forget(self) -> None:
        """For the daemon itself."""


class OpenHit(Hit):
    def _rpyc_getattr(self, name: str) -> Any:
        return getattr(self, name if hasattr(self, name) else f"exposed_{name}")


class Daemon(rpyc.Service):  # type: ignore[misc]
    """One instance for all connections."""

    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        self.root = root
        self.options = options
        self.defect = options.defect
        self.mutex = threading.Lock()
        self.one_at_a_time = threading.RLock()
        self.index: Index | None = None
        self.loads = self.queries = self.errors = self.in_flight = 0
        self.is_leaving = False
        self.kept: list[Any] = []
        self.last: list[dict[str, Any]] = []
        self.used = self.began = time.monotonic()
        self.leave: Callable[[], None] = lambda: None

    def on_connect(self, conn: Any) -> None:
        if self.defect == "keeps_descriptors":
            self.kept.append(os.dup(conn._channel.stream.fileno()))

    def on_disconnect(self, conn: Any) -> None:
        if self.defect == "keeps_threads":
            threading.Thread(target=threading.Event().wait, daemon=True).start()

    # Asked.

    def exposed_query(self, query: Any = "", limit: Any = 10, **others: Any) -> Any:
        return self.counted(lambda: self.search(query, limit, others), is_query=True)

    exposed_query_fts = exposed_query_hybrid = exposed_query

    def search(self, query: Any, limit: Any, others: dict[str, Any]) -> Any:
        self.check(query, limit, others)
        if self.is_leaving and self.defect != "stays_while_it_is_asked":
            raise ShuttingDown("shutting down")
        self.take_time(query)
        self.choke(query)
        with self.mutex:
            if self.index is None:
                self.index = Index(self.root)
                self.loads += 2 if self.defect == "counts_loads_twice" else 1
            index = self.index
        hits = index.search(query, limit + (self.defect == "gives_one_more"))
        if self.defect == "finds_nothing_for_its_dots" and "." in query:
            hits = []
        return self.shaped(self.spoiled(hits))

    def take_time(self, query: str) -> None:
        pause_s = self.options.slow * len(query) / 100_000
        if self.defect == "one_query_at_a_time":
            with self.one_at_a_time:
                time.sleep(pause_s)
                self.wait_at_gate()
        else:
            time.sleep(pause_s)
            self.wait_at_gate()

    def wait_at_gate(self) -> None:
        _, gate = self.options.hold_at
        held = Path(f"{gate}.held")
        if gate and Path(gate).exists():
            Path(gate).rename(held)
            while held.exists():
                time.sleep(0.005)
        _, gate = self.options.fail_at
        if gate and Path(gate).exists():
            raise OSError(5, "nobody thought of this", __file__)

    def choke(self, query: str) -> None:
        if self.defect == "chokes_on_brackets" and re.search(r"[(\[{]", query):
            raise ValueError("unbalanced")
        if self.defect == "chokes_on_nothing" and not query.strip():
            raise ValueError("empty query")

    def spoiled(self, hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
        spoil: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "lines_from_zero": lambda hit: {**hit, "line": hit["line"] - 1},
            "lines_beyond_the_end": lambda hit: {**hit, "line": hit["line"] + 1000},
            "text_of_another_line": lambda hit: {**hit, "text": "class Something: pass"},
        }
        if self.defect == "worst_first":
            return hits[::-1]
        if self.defect == "gives_each_twice":
            return [hit for hit in hits for _ in range(2)][: max(len(hits), 2)]
        if self.defect == "mixes_answers_up":
            with self.mutex:
                is_alone = self.in_flight == 1
                hits, self.last = (hits if is_alone else self.last), hits
        return [spoil.get(self.defect, dict)(hit) for hit in hits]

    def check(self, query: Any, limit: Any, others: dict[str, Any]) -> None:
        if self.defect == "takes_any_argument":
            return
        is_bad = others or type(query) is not str or type(limit) is not int or limit < 1
        if is_bad and self.defect == "names_no_argument":
            raise Refusal("bad request")
        if others:
            raise Refusal(f"unknown argument: {', '.join(others)}")
        for name, value, kind in (("query", query, str), ("limit", limit, int)):
            if type(value) is not kind:
                raise Refusal(f"{name}: must be {kind.__name__}")
        if limit < 1 and self.defect != "takes_any_limit":
            raise Refusal("limit: must be above 0")

    def exposed_rebuild(self, progress: Any = None) -> Any:
        def rebuild() -> Any:
            for number in range(20 if progress is not None else 0):
                progress(number, 20)
            with self.mutex:
                self.index = None
            return self.shaped({"status": "completed"})

        return self.counted(rebuild)

    def exposed_flush(self) -> Any:
        with self.mutex:
            self.index = None
        return self.shaped({"status": "cleared"})

    def exposed_stats(self) -> Any:
        age_s = time.monotonic() - self.began
        return self.shaped(
            {
                "os_pid": os.getppid() if self.defect == "says_another_pid" else os.getpid(),
                "disk_reads": self.loads,
                "cached": self.index is not None or self.defect == "is_always_cached",
                "counts": {
                    "queries": 7 if self.defect == "counts_no_queries" else self.queries,
                    "errors": self.errors,
                },
                "uptime": time.time() if self.defect == "says_when_not_how_long" else age_s,
                "state": "sick" if self.queries > 5 and self.defect == "tires" else "ok",
            }
        )

    def exposed_quit(self) -> Any:
        self.leave()
        return self.shaped({"status": "leaving"})

    # Not asked.

    def counted(self, call: Callable[[], Any], *, is_query: bool = False) -> Any:
        with self.mutex:
            self.in_flight += 1
            self.queries += is_query
            self.used = time.monotonic()
        try:
            return call()
        except Exception as error:
            self.errors += self.defect != "counts_what_it_thought_of" or type(error) is not OSError
            if type(error) is OSError and self.defect != "tells_everything":
                raise RuntimeError("a fault of the daemon's own") from None
            if self.defect == "errors_are_all_the_same":
                raise RuntimeError("internal error") from None
            raise
        finally:
            with self.mutex:
                self.in_flight -= 1
                self.used = time.monotonic()

    def shaped(self, answer: Any) -> Any:
        style = self.options.style
        if style == "json":
            return json.dumps(answer)
        if style == "objects" and isinstance(answer, list):
            kind = OpenHit if self.defect == "gives_objects_away" else Hit
            return [kind(hit) for hit in answer]
        return frozen(answer) if style == "value" else answer


def frozen(value: Any) -> Any:
    """What RPyC copies: tuples; for a mapping, pairs."""
    if isinstance(value, dict):
        return tuple((key, frozen(item)) for key, item in value.items())
    return tuple(map(frozen, value)) if isinstance(value, list) else value


class OneAtATime(Server):  # type: ignore[misc]
    """The next client is served when this one has left."""

    def _accept_method(self, sock: socket.socket) -> None:
        self._authenticate_and_serve_client(sock)


class FewThreads(ThreadPoolServer):  # type: ignore[misc]
    """Each reads a message to its end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, nbThreads=4, **options)


def serve(root: Path, options: argparse.Namespace) -> int:
    path = root / ".otherd" / "otherd.sock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not claimed(path):
        print("there is one", flush=True)
        return 3
    service = Daemon(root, options)
    server = listening(service, path)
    ended = threading.Event()
    service.leave = ended.set
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=server.start, daemon=True).start()
    inode = inode_of(path)
    print("ready at", path, flush=True)
    wait_for_the_end(service, ended, path, inode)
    leave(service, path, inode)
    os._exit(1 if options.defect == "ends_with_status_1" else 0)


def listening(service: Daemon, path: Path) -> Server:
    defect = service.defect
    kinds = {"one_client_at_a_time": OneAtATime, "few_threads_read": FewThreads}
    if defect == "open_to_all":
        path.parent.chmod(0o755)
    mask = os.umask(0 if defect == "open_to_all" else 0o077)
    server = kinds.get(defect, ThreadedServer)(
        service,
        socket_path=str(path),
        protocol_config={
            "allow_public_attrs": defect == "everything_is_public",
            "allow_all_attrs": defect == "even_the_private_is_public",
            "allow_setattr": defect == "can_be_changed",
            "allow_delattr": defect == "can_be_changed",
            "include_local_traceback": defect == "tells_its_traceback",
            "sync_request_timeout": 30,
        },
    )
    os.umask(mask)
    return server


def wait_for_the_end(service: Daemon, ended: threading.Event, path: Path, inode: int) -> None:
    defect, options = service.defect, service.options
    while not ended.wait(0.05):
        is_idle = time.monotonic() - service.used > options.ttl_s
        if defect != "leaves_while_asked":
            is_idle = is_idle and not service.in_flight
        if is_idle and (options.idle or defect == "idle_when_not_told") and defect != "never_idle":
            return
        if defect != "does_not_look_at_its_socket" and inode_of(path) != inode:
            return


def leave(service: Daemon, path: Path, inode: int) -> None:
    defect = service.defect
    service.is_leaving = True
    while defect == "stays_while_it_is_asked" and time.monotonic() - service.used < 0.5:
        time.sleep(0.01)
    is_own = inode_of(path) == inode
    if defect != "leaves_its_socket" and (is_own or defect == "removes_any_socket"):
        path.unlink(missing_ok=True)
    deadline = time.monotonic() + 10
    while defect != "drops_what_is_in_flight" and time.monotonic() < deadline:
        if not service.in_flight:
            time.sleep(0.05)  # until the last answer is written
            return
        time.sleep(0.01)


def inode_of(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def claimed(path: Path) -> bool:
    """Whether nobody serves; what a dead one has left is removed."""
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(str(path))
    except FileNotFoundError:
        return True
    except OSError:
        path.unlink(missing_ok=True)
        return True
    finally:
        probe.close()
    return False


def configure(root: Path, options: argparse.Namespace) -> None:
    """Raises `ValueError`."""
    options.ttl_s = 600
    options.idle = os.environ.get("OTHERD_IDLE", "false") == "true"
    path = root / ".otherd" / "config.json"
    try:
        ttl_s = json.loads(path.read_text("utf-8"))["ttl_s"]
        if type(ttl_s) not in (int, float) or ttl_s <= 0:
            raise ValueError("ttl_s: must be above 0")
        options.ttl_s = ttl_s
    except ValueError:
        if options.defect != "takes_any_configuration":
            raise


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("project", type=Path)
    parser.add_argument("--defect", default="")
    styles = ("netref", "objects", "value", "json")
    parser.add_argument("--style", default="netref", choices=styles)
    parser.add_argument("--slow", type=float, default=0.0)
    for option in ("--hold-at", "--fail-at"):
        parser.add_argument(option, nargs=2, default=("", ""))
    options = parser.parse_args()
    root = options.project.resolve()
    try:
        configure(root, options)
    except ValueError as error:
        print(f"config.json: {error}", file=sys.stderr)
        return 2
    return serve(root, options)


if __name__ == "__main__":
    sys.exit(main())
