"""Runs tests against a mutant: the pytest plugin that plants one, and picks the tests.

    pytest -p cidx_ref.testing.own.planting --cidx-mutant filters_are_ignored --cidx-promise QRY-2

A test that fails then has seen the mutant; where all pass, one is missing.  A mutant is planted in
the process that runs the tests, and in no daemon that they start in a process of its own.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from cidx_ref.testing.promises.registry import PROMISES

__all__: list[str] = []

#: Fixtures whose tests come last when a mutant is planted: the one takes long to be set up, and
#: behind the other is a process without the mutant.
_LAST = frozenset({"running", "stdlib"})


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cidx", "promises")
    group.addoption(
        "--cidx-mutant", metavar="NAME", help="plant this mutant for as long as the session lasts"
    )
    group.addoption(
        "--cidx-promise",
        metavar="ID",
        action="append",
        default=[],
        help="run only tests that are marked with this promise, or another one so given",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "promise(*ids): this test shows these promises")
    for id_ in config.getoption("cidx_promise"):
        if id_ not in PROMISES:
            raise pytest.UsageError(f"--cidx-promise: unknown promise {id_!r}")
    name = config.getoption("cidx_mutant")
    if name is not None:
        _plant(name, config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(config.getoption("cidx_promise"))
    if wanted:
        others = [item for item in items if not wanted & _promises(item)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if wanted & _promises(item)]
    if config.getoption("cidx_mutant") is not None:
        items.sort(key=lambda item: not _LAST.isdisjoint(getattr(item, "fixturenames", ())))


def _plant(name: str, config: pytest.Config) -> None:
    # Not at the top: with its mutants comes all that they are mutants of.
    from cidx_ref.testing.own.mutants import MUTANTS

    if name not in MUTANTS:
        raise pytest.UsageError(
            f"--cidx-mutant: unknown mutant {name!r}; the names of all:"
            ' python -c "from cidx_ref.testing.own.mutants import MUTANTS; print(*MUTANTS)"'
        )
    planted = ExitStack()
    planted.enter_context(MUTANTS[name].planted())
    config.add_cleanup(planted.close)


def _promises(item: pytest.Item) -> set[str]:
    return {id_ for mark in item.iter_markers("promise") for id_ in mark.args}
