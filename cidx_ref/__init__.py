"""cidx_ref: a code-search daemon to read, to measure and to test against.

    import cidx_ref
    with cidx_ref.connect("path/to/repo") as daemon:
        for hit in daemon.query("retry when the peer disconnects", limit=5):
            print(hit.path, hit.line_start, hit.score)

Every name below is imported on first use, so that `import cidx_ref` costs next to nothing: a
client must not pay for numpy, hnswlib and tantivy, which only the daemon needs.
"""

from __future__ import annotations

from cidx_ref._version import __version__

#: `typing` takes milliseconds, in which an interrupt would be Python's to answer (`__main__`).
TYPE_CHECKING = False

_HOME = {
    "connect": "client",
    "DaemonClient": "client",
    "Answer": "results",
    "Hit": "results",
    "CIDXDaemonService": "daemon.service",
    "CacheEntry": "daemon.entry",
    "CacheEvictionThread": "daemon.eviction",
    "FilesystemVectorStore": "index.cidx.vectorstore",
    "HealthMonitor": "daemon.health",
    "start_daemon": "daemon.server",
    "BadArgumentError": "errors",
    "BusyError": "errors",
    "CidxError": "errors",
    "ConfigError": "errors",
    "DaemonUnavailableError": "errors",
    "EmbedderError": "errors",
    "IndexUnusableError": "errors",
    "IndexingError": "errors",
    "InternalError": "errors",
    "NoIndexError": "errors",
    "ShuttingDownError": "errors",
    "UntrustedError": "errors",
}

__all__ = ["__version__", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from typing import Any

    from cidx_ref.client import DaemonClient as DaemonClient
    from cidx_ref.client import connect as connect
    from cidx_ref.daemon.entry import CacheEntry as CacheEntry
    from cidx_ref.daemon.eviction import CacheEvictionThread as CacheEvictionThread
    from cidx_ref.daemon.health import HealthMonitor as HealthMonitor
    from cidx_ref.daemon.server import start_daemon as start_daemon
    from cidx_ref.daemon.service import CIDXDaemonService as CIDXDaemonService
    from cidx_ref.errors import BadArgumentError as BadArgumentError
    from cidx_ref.errors import BusyError as BusyError
    from cidx_ref.errors import CidxError as CidxError
    from cidx_ref.errors import ConfigError as ConfigError
    from cidx_ref.errors import DaemonUnavailableError as DaemonUnavailableError
    from cidx_ref.errors import EmbedderError as EmbedderError
    from cidx_ref.errors import IndexingError as IndexingError
    from cidx_ref.errors import IndexUnusableError as IndexUnusableError
    from cidx_ref.errors import InternalError as InternalError
    from cidx_ref.errors import NoIndexError as NoIndexError
    from cidx_ref.errors import ShuttingDownError as ShuttingDownError
    from cidx_ref.errors import UntrustedError as UntrustedError
    from cidx_ref.index.cidx.vectorstore import FilesystemVectorStore as FilesystemVectorStore
    from cidx_ref.results import Answer as Answer
    from cidx_ref.results import Hit as Hit


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
