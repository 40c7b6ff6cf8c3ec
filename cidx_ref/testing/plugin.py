"""The pytest plugin of the kit, which is loaded in every run where the kit is installed.

    pytest --cidx-target=conformance:TARGET --cidx-excuses=excuses.toml

adds a test for each promise of the target.  Most runs want none of it: so the options are here, and
nothing else is imported before one of them is used.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

__all__ = ["add_promise_options", "plug_in"]


def pytest_addoption(parser: pytest.Parser) -> None:
    add_promise_options(parser)
    group = parser.getgroup("cidx")
    group.addoption(
        "--cidx-target",
        metavar="MODULE:NAME",
        help="judge this target: one test for each of its promises",
    )
    group.addoption(
        "--cidx-excuses", metavar="FILE", help="what the target is known to break, and why (TOML)"
    )
    group.addoption(
        "--cidx-deep",
        action="store_true",
        help="judge the target longer, and with the checks that take minutes",
    )
    group.addoption(
        "--cidx-seed",
        type=int,
        default=0,
        metavar="N",
        help="of what is drawn by chance when the target is judged (default: 0)",
    )


def add_promise_options(parser: pytest.Parser) -> None:
    """What all plugins of the kit know of promises; the first that asks adds it."""
    parser.addini("cidx_promises", "a file of promises of the project's own (TOML)", default="")
    group = parser.getgroup("cidx", "promises")
    with suppress(ValueError):  # it is there already
        group.addoption(
            "--cidx-promise",
            metavar="ID",
            action="append",
            default=[],
            help="run only tests that are marked with this promise, or another one so given",
        )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "promise(*ids): this test shows these promises")
    if config.getoption("cidx_promise"):
        plug_in(config, "cidx_ref.testing.promises.picking")
    if config.getoption("cidx_target"):
        plug_in(config, "cidx_ref.testing.judging")


def plug_in(config: pytest.Config, name: str) -> None:
    """Have the module of that name as a plugin, once."""
    if not config.pluginmanager.has_plugin(name):
        module: Any = import_module(name)
        config.pluginmanager.register(module, name)
