"""Runs pytest, for `forking`: what it imports here is there in each fork.

Of this package nothing is imported before the fork but what comes with the mutants: whatever binds
a name later binds the mutant, as it does in a process of its own.
"""

from __future__ import annotations

from importlib import import_module

import hypothesis.stateful  # noqa: F401
import pytest
import pytest_benchmark.plugin  # noqa: F401
import snowballstemmer  # noqa: F401
from _pytest.config import default_plugins

import cidx_ref.testing.own.mutants  # noqa: F401 - and with them what they are mutants of

__all__ = ["main"]

for plugin in (*default_plugins, "pytester"):
    import_module(f"_pytest.{plugin}")


def main(arguments: list[str]) -> int:
    # It is of modules that were imported before pytest could rewrite them; none is a test's.
    return int(pytest.main(["-W", "ignore::pytest.PytestAssertRewriteWarning", *arguments]))
