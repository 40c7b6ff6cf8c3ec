"""Runs pytest, for `forking`: what it imports here is there in each fork.

Of this package nothing is imported before the fork but what comes with the mutants: whatever binds
a name later binds the mutant, as it does in a process of its own.
"""

from __future__ import annotations

import os
from importlib import import_module

import hypothesis.stateful  # noqa: F401
import pytest
import snowballstemmer  # noqa: F401
from _pytest.config import default_plugins

import cidx_ref.testing.own.mutants  # noqa: F401 - and with them what they are mutants of

__all__ = ["main"]

#: To look through all that is installed for plugins takes longer than most tests here, and one of
#: those that are found asks git four times how things are.
_ALONE = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"

for plugin in (*default_plugins, "pytester"):
    import_module(f"_pytest.{plugin}")


def main(arguments: list[str]) -> int:
    os.environ[_ALONE] = "1"
    options = ["-p", "_hypothesis_pytestplugin"]
    # It is of modules that were imported before pytest could rewrite them; none is a test's.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, *arguments], plugins=[_Configured()]))


class _Configured:
    @staticmethod
    def pytest_configure() -> None:
        del os.environ[_ALONE]  # a pytest that a test starts is as any
