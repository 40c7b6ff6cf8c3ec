"""`python kit_daemons.py PROJECT [--defect NAME] [--style netref|value|json] [--slow-s S]`: a small
daemon in the manner of the story's sample, right in all it offers, or with one defect.

It knows nothing of this package: what is judged is what a stranger wrote.  The checks of
`cidx_ref.testing.conformance` must find each defect, and blame no style.
"""

# ruff: noqa: TID251  - a stranger's program takes time and threads where it finds them

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
from rpyc.utils.server import Server, ThreadedServer

WORD = re.compile(r"[a-z]+")
TYPES = {"query": str, "limit": int}


class Refusal(ValueError):
    """A bad argument, by its name."""


class ShuttingDown(Exception):
    """No more calls are taken."""


class Index:
    """Lines with the words that are looked for."""

    def __init__(self, root: Path) -> None:
        self.files = {
            path.relative_to(root).as_posix(): path.read_text("utf-8").splitlines()
            for path in sorted(root.rglob("*.py"))
        }

    def search(self, query: str, limit: int) -> list[dict[str, Any]]:
        wanted = set(WORD.findall(query.lower()))
        found = []
        for path, lines in self.files.items():
            for number, line in enumerate(lines, 1):
                if score := len(wanted & set(WORD.findall(line.lower()))):
                    found.append({"path": path, "line": number, "text": line, "score": score})
        found.sort(key=lambda hit: (-hit["score"], hit["path"], hit["line"]))
        return found[:limit]


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
        self.used = time.monotonic()
        self.began = time.monotonic()
        self.leave: Callable[[], None] = lambda: None

    # Asked.

    def exposed_query(self, query: Any = "", limit: Any = 10, **others: Any) -> Any:
        return self.counted(lambda: self.search(query, limit, others))

    def exposed_query_fts(self, query: Any = "", limit: Any = 10, **others: Any) -> Any:
        return self.counted(lambda: self.search(query, limit, others))

    def exposed_query_hybrid(self, query: Any = "", limit: Any = 10, **others: Any) -> Any:
        return self.counted(lambda: self.search(query, limit, others))

    def search(self, query: Any, limit: Any, others: dict[str, Any]) -> Any:
        self.check(query, limit, others)
        if self.is_leaving and self.defect != "answers_while_it_leaves":
            raise ShuttingDown("shutting down")
        if self.options.slow_s:
            time.sleep(self.options.slow_s)
        if self.defect == "one_query_at_a_time":
            with self.one_at_a_time:
                time.sleep(self.options.slow_s)
        if self.defect == "chokes_on_brackets" and re.search(r"[(\[{]", query):
            raise ValueError("unbalanced")
        if self.defect == "chokes_on_nothing" and not query.strip():
            raise ValueError("empty query")
        if self.defect == "finds_nothing_for_its_dots" and "." in query:
            return self.shaped([])
        with self.mutex:
            if self.index is None:
                self.index = Index(self.root)
                self.loads += 1
            index = self.index
        hits = index.search(query, limit)
        return self.shaped(self.spoiled(hits))

    def spoiled(self, hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.defect == "lines_from_zero":
            return [{**hit, "line": hit["line"] - 1} for hit in hits]
        if self.defect == "lines_beyond_the_end":
            return [{**hit, "line": hit["line"] + 1000} for hit in hits]
        if self.defect == "worst_first":
            return hits[::-1]
        if self.defect == "mixes_answers_up":
            with self.mutex:
                mine, self.last = hits, getattr(self, "last", hits)
                hits, self.last = self.last, mine
        if self.defect == "text_of_another_line":
            return [{**hit, "text": "def something_else():"} for hit in hits]
        return hits

    def check(self, query: Any, limit: Any, others: dict[str, Any]) -> None:
        if self.defect == "takes_any_argument":
            return
        if self.defect == "names_no_argument":
            if others or type(query) is not str or type(limit) is not int or limit < 1:
                raise Refusal("bad request")
        if others:
            raise Refusal(f"unknown argument: {sorted(others)[0]}")
        for name, value in (("query", query), ("limit", limit)):
            if type(value) is not TYPES[name]:
                raise Refusal(f"{name}: must be {TYPES[name].__name__}")
        if limit < 1 and self.defect != "takes_any_limit":
            raise Refusal("limit: must be above 0")

    def exposed_rebuild(self) -> Any:
        def rebuild() -> Any:
            with self.mutex:
                self.index = None
            return self.shaped({"status": "completed"})

        return self.counted(rebuild)

    def exposed_flush(self) -> Any:
        with self.mutex:
            self.index = None
        return self.shaped({"status": "cleared"})

    def exposed_stats(self) -> Any:
        pid = os.getppid() if self.defect == "says_another_pid" else os.getpid()
        queries = 7 if self.defect == "counts_no_queries" else self.queries
        uptime = time.time() if self.defect == "says_when_not_how_long" else self.uptime()
        return self.shaped(
            {
                "os_pid": pid,
                "disk_reads": self.loads,
                "cached": self.index is not None or self.defect == "is_always_cached",
                "counts": {"queries": queries, "errors": self.errors},
                "uptime": uptime,
                "state": "sick"
                if self.errors > 5 and self.defect == "typos_make_it_sick"
                else "ok",
            }
        )

    def exposed_quit(self) -> Any:
        self.is_leaving = True
        self.leave()
        return self.shaped({"status": "leaving"})

    # Not asked.

    def uptime(self) -> float:
        return time.monotonic() - self.began

    def counted(self, call: Callable[[], Any]) -> Any:
        with self.mutex:
            self.in_flight += 1
            self.queries += 1
            self.used = time.monotonic()
        try:
            return call()
        except (Refusal, ShuttingDown):
            raise
        except Exception as error:
            self.errors += 1
            if self.defect == "errors_are_all_the_same":
                raise RuntimeError("internal error") from None
            raise error
        finally:
            with self.mutex:
                self.in_flight -= 1
                self.used = time.monotonic()

    def shaped(self, answer: Any) -> Any:
        style = self.options.style
        if style == "json":
            return json.dumps(answer)
        if style == "value":  # what RPyC copies
            return frozen(answer)
        return answer


def frozen(value: Any) -> Any:
    """Tuples of tuples: pairs for a mapping."""
    if isinstance(value, dict):
        return tuple((key, frozen(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(frozen(item) for item in value)
    return value


class Limited(ThreadedServer):  # type: ignore[misc]
    """At most so many connections, and none that says nothing for long."""

    def accept(self) -> None:
        super().accept()


def serve(root: Path, options: argparse.Namespace) -> int:
    path = root / ".otherd" / "otherd.sock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if options.defect == "open_to_all":
        path.parent.chmod(0o777)
    if not claimed(path):
        print("there is one", flush=True)
        return 3
    service = Daemon(root, options)
    kind: type[Server] = ThreadedServer
    if options.defect == "one_client_at_a_time":
        kind = OneAtATime
    mask = os.umask(0 if options.defect == "open_to_all" else 0o077)
    server = kind(
        service,
        socket_path=str(path),
        protocol_config={
            "allow_public_attrs": options.defect == "everything_is_public"
            or options.style == "netref",
            "allow_all_attrs": options.defect == "everything_is_public",
            "include_local_traceback": options.defect == "tells_its_traceback",
            "sync_request_timeout": 30,
        },
    )
    os.umask(mask)
    ended = threading.Event()
    service.leave = ended.set
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=server.start, daemon=True).start()
    while not path.exists():
        time.sleep(0.001)
    print("ready at", path, flush=True)
    inode = path.stat().st_ino
    wait_for_the_end(service, ended, path, inode)
    return leave(service, path, inode)


def wait_for_the_end(service: Daemon, ended: threading.Event, path: Path, inode: int) -> None:
    options = service.options
    while not ended.wait(0.05):
        is_idle = time.monotonic() - service.used > options.ttl_s and not service.in_flight
        if options.defect == "leaves_while_asked":
            is_idle = time.monotonic() - service.used > options.ttl_s
        if options.idle and is_idle and options.defect != "never_idle":
            return
        if options.defect == "idle_when_not_told" and is_idle:
            return
        if options.defect == "does_not_look_at_its_socket":
            continue
        if not path.exists() or path.stat().st_ino != inode:
            return


def leave(service: Daemon, path: Path, inode: int) -> int:
    defect = service.defect
    service.is_leaving = True
    is_own = path.exists() and path.stat().st_ino == inode
    if defect != "leaves_its_socket" and (is_own or defect == "removes_any_socket"):
        path.unlink(missing_ok=True)
    if defect != "drops_what_is_in_flight":
        deadline = time.monotonic() + 10
        while service.in_flight and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
    sys.stdout.flush()
    os._exit(1 if defect == "ends_with_status_1" else 0)


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


class OneAtATime(Server):  # type: ignore[misc]
    """The next client is served when this one has left."""

    def _accept_method(self, sock: socket.socket) -> None:
        self._authenticate_and_serve_client(sock)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("project", type=Path)
    parser.add_argument("--defect", default="")
    parser.add_argument("--style", default="netref", choices=("netref", "value", "json"))
    parser.add_argument("--slow-s", type=float, default=0.0)
    options = parser.parse_args()
    options.ttl_s = float(os.environ.get("OTHERD_TTL_S", "600"))
    options.idle = os.environ.get("OTHERD_IDLE", "false") == "true"
    return serve(options.project.resolve(), options)


if __name__ == "__main__":
    sys.exit(main())
