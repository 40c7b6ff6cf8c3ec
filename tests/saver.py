"""A program that saves files as editors do, one order after the other, each a line of JSON.

    python saver.py < orders

An order is a list of operations, `[name, path]` or `[name, path, text or other path]`; when they
are done, a line is written back.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["carry_out"]


def _write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _append(path: str, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def _move(path: str, new: str) -> None:
    Path(new).parent.mkdir(parents=True, exist_ok=True)
    Path(path).replace(new)


_OPERATIONS: dict[str, Callable[..., object]] = {
    "write": _write,
    "append": _append,
    "move": _move,
    "delete": lambda path: Path(path).unlink(),
}


def carry_out(order: list[list[str]]) -> None:
    for name, *arguments in order:
        _OPERATIONS[name](*arguments)


if __name__ == "__main__":
    for line in sys.stdin:
        carry_out(json.loads(line))
        print(flush=True)
