"""Load on a daemon's real socket, with locust: an RPyC user, scenarios, and a verdict.

    from cidx_ref.testing.load import Scenario, task

Needs the extra `load`.  What needs locust is imported when it is first asked for, because importing
locust replaces the blocking parts of the standard library in the whole process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locust import LoadTestShape as LoadTestShape
    from locust import between as between
    from locust import constant as constant
    from locust import task as task

    from cidx_ref.testing.conformance.target import Cap as Cap
    from cidx_ref.testing.load.corpus import Question as Question
    from cidx_ref.testing.load.scenario import Scenario as Scenario
    from cidx_ref.testing.load.session import Session as Session
    from cidx_ref.testing.load.user import DaemonUser as DaemonUser
    from cidx_ref.testing.load.user import RpycClient as RpycClient
    from cidx_ref.testing.load.user import RpycUser as RpycUser

_HOME = {
    "Cap": "cidx_ref.testing.conformance.target",
    "DaemonUser": "cidx_ref.testing.load.user",
    "LoadTestShape": "locust",
    "Question": "cidx_ref.testing.load.corpus",
    "RpycClient": "cidx_ref.testing.load.user",
    "RpycUser": "cidx_ref.testing.load.user",
    "Scenario": "cidx_ref.testing.load.scenario",
    "Session": "cidx_ref.testing.load.session",
    "between": "locust",
    "constant": "locust",
    "task": "locust",
}

#: What the extra brings.
_EXTRA = ("locust", "gevent", "psutil", "flask")
WITHOUT_LOCUST = (
    "load sessions need locust, of the extra `load`: pip install 'cidx-ref-testing[load]'"
)

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        if name == "Scenario":  # whose sessions must be known to locust
            import_module("cidx_ref.testing.load.plugin")
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        raise ModuleNotFoundError(WITHOUT_LOCUST, name=error.name) from None
