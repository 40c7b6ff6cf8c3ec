"""A sample of each row of the table of faults; in depth, the mutants that it catches.

`tox -e faults` tries all of them in full.  A row, and each of its mutants, is tried in a process
of its own (see `fault_rows.trying`), here in a fork of one that has imported all rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_rows.table import Row, load
from forking import Forking

from cidx_ref.testing.promises.report import RecordMutant, RecordTried

pytestmark = pytest.mark.once

#: Longer than any case may take; a row ends what hangs.
PATIENCE_S = 900.0

EVERY = [
    pytest.param(row, id=row.name, marks=pytest.mark.promise(*row.promises))
    for row in load().values()
]


CAUGHT = [
    pytest.param(row, id=row.name, marks=pytest.mark.promise(*row.promises))
    for row in load().values()
    if row.mutants
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    with Forking("fault_rows.__main__", tmp_path_factory.mktemp("rows")) as made:
        yield made


def run(rows: Forking, tmp_path: Path, *arguments: str) -> tuple[int, str]:
    said = tmp_path / "said"
    status = rows.run(list(arguments), said, PATIENCE_S)
    return status, said.read_text("utf-8", "replace")


@pytest.mark.parametrize("row", EVERY)
def test_nothing_is_lost_whatever_the_fault(
    row: Row, rows: Forking, tmp_path: Path, tried: RecordTried
) -> None:
    status, said = run(rows, tmp_path, row.name, "--sample")
    assert not status, said
    if "not tried: " in said:
        pytest.skip(said.partition("not tried: ")[2].splitlines()[0])
    for promise in row.promises:
        tried(promise, row.sample, "cases of faults")


@pytest.mark.deep
@pytest.mark.parametrize("row", CAUGHT)
def test_a_row_catches_each_of_its_mutants_within_its_sample(
    row: Row, rows: Forking, tmp_path: Path, planted: RecordMutant
) -> None:
    status, said = run(rows, tmp_path, row.name, "--mutants")
    assert not status, said
    for mutant in row.mutants:
        planted(row.promises[0], mutant.name, killed=True)
