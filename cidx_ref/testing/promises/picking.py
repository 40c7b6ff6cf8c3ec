"""The promises that a pytest run knows, and the tests of some of them: `--cidx-promise ID`.

A pytest plugin, plugged in where that option is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cidx_ref.testing.promises.registry import PromisesError, known_promises

__all__ = ["promises_of", "shown_by"]

_PROMISES = pytest.StashKey[Mapping[str, str]]()


def promises_of(config: pytest.Config) -> Mapping[str, str]:
    """All promises of a run: the kit's, and those of the file that `cidx_promises` names.

    Raises `UsageError`.
    """
    if _PROMISES not in config.stash:
        name = config.getini("cidx_promises")
        directory = config.inipath.parent if config.inipath else config.rootpath
        try:
            config.stash[_PROMISES] = known_promises(*([directory / name] if name else []))
        except PromisesError as error:
            raise pytest.UsageError(f"cidx_promises: {error}") from None
    return config.stash[_PROMISES]


def shown_by(item: pytest.Item) -> list[str]:
    """The promises that a test is marked with, by itself, its class or its module; each once.

    Raises `UsageError` for one that is not known.
    """
    ids = dict.fromkeys(id_ for mark in item.iter_markers("promise") for id_ in mark.args)
    for id_ in ids:
        if id_ not in promises_of(item.config):
            raise pytest.UsageError(f"unknown promise {id_!r} at {item.nodeid}")
    return list(ids)


def pytest_configure(config: pytest.Config) -> None:
    for id_ in config.getoption("cidx_promise"):
        if id_ not in promises_of(config):
            raise pytest.UsageError(f"--cidx-promise: unknown promise {id_!r}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(config.getoption("cidx_promise"))
    others = [item for item in items if not wanted & _marks(item)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if wanted & _marks(item)]


def _marks(item: pytest.Item) -> set[str]:
    return {id_ for mark in item.iter_markers("promise") for id_ in mark.args}
