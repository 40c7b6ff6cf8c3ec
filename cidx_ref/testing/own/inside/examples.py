"""Checks in this process that are made of examples: functions of a directory of their own, which
say in their first line what holds, and raise where it does not."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from cidx_ref.places import STATE_DIRECTORY
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check

__all__ = ["Example", "examples", "in_quiet"]

Example = Callable[[Path], object]


def examples(name: str, promise: str, *each: Example, deep: bool = False) -> Check:
    """The check that all of them hold; with `deep`, in depth only."""

    @check(name, promise, inside=True, deep=deep)
    def run(bench: Bench) -> None:
        with bench.showing(promise), in_quiet(bench.directory):
            for number, example in enumerate(each):
                directory = bench.directory / f"example{number}"
                directory.mkdir()
                _held(example, directory)
                bench.tried(promise, 1, "examples")

    return run


def _held(example: Example, directory: Path) -> None:
    try:
        example(directory)
    except Exception as error:
        said = (example.__doc__ or example.__name__).strip()
        where = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
        error.add_note(f"{said}\n{''.join(where)}".rstrip())
        raise


@contextmanager
def in_quiet(directory: Path) -> Iterator[None]:
    """What the code has to say goes to nobody's log; it finds nothing of the user's, neither keys
    nor settings nor what git is to ignore, and leaves nothing there."""
    log = logging.getLogger("cidx_ref")
    nobodys = {name: text for name, text in os.environ.items() if not name.startswith("CIDX_REF_")}
    nobodys |= {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory / "nobody")}
    nobodys |= {STATE_DIRECTORY: str(directory / "state")}
    with patch.object(log, "disabled", True), patch.dict(os.environ, nobodys, clear=True):
        yield
