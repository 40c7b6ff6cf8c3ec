"""Runs tests against a mutant: the pytest plugin that plants one, and picks the tests.

    pytest -p cidx_ref.testing.own.planting --cidx-mutant filters_are_ignored --cidx-promise QRY-2

A test that fails then has seen the mutant; where all pass, one is missing.  A mutant is planted in
the process that runs the tests, and in no daemon that they start in a process of its own.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from cidx_ref.testing.plugin import add_promise_options, plug_in

__all__: list[str] = []

#: Fixtures whose tests come last when a mutant is planted: the one takes long to be set up, and
#: behind the other is a process without the mutant.
_LAST = frozenset({"running", "stdlib"})


def pytest_addoption(parser: pytest.Parser) -> None:
    add_promise_options(parser)
    parser.getgroup("cidx", "promises").addoption(
        "--cidx-mutant", metavar="NAME", help="plant this mutant for as long as the session lasts"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "promise(*ids): this test shows these promises")
    if config.getoption("cidx_promise"):
        plug_in(config, "cidx_ref.testing.promises.picking")
    name = config.getoption("cidx_mutant")
    if name is not None:
        _plant(name, config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
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
