"""Which of many rows are tried by default; the others in depth only (`tox -e deep`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["by_default"]


def by_default(every: Iterable[Any], *chosen: Any) -> list[Any]:
    """`every` as values of `parametrize`, of which those that are not among `chosen` are deep."""
    rows = list(every)
    assert not [one for one in chosen if one not in rows], "a row has another name now"
    return [one if one in chosen else pytest.param(one, marks=pytest.mark.deep) for one in rows]
