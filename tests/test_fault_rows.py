"""A sample of each row of the table of faults; in depth, the mutants that it catches.

`tox -e faults` tries all of them in full.  A row, and each of its mutants, is tried in a process
of its own: see `fault_rows.trying`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fault_rows.table import Row, load

from cidx_ref.testing.promises.report import RecordMutant, RecordTried

pytestmark = pytest.mark.once

EVERY = [
    pytest.param(row, id=row.name, marks=pytest.mark.promise(*row.promises))
    for row in load().values()
]


CAUGHT = [
    pytest.param(row, id=row.name, marks=pytest.mark.promise(*row.promises))
    for row in load().values()
    if row.mutants
]


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    command = [sys.executable, "-P", "-m", "fault_rows", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )


@pytest.mark.parametrize("row", EVERY)
def test_nothing_is_lost_whatever_the_fault(row: Row, tmp_path: Path, tried: RecordTried) -> None:
    done = run(tmp_path, row.name, "--sample")
    assert not done.returncode, f"{done.stdout}{done.stderr}"
    if "not tried: " in done.stdout:
        pytest.skip(done.stdout.partition("not tried: ")[2].splitlines()[0])
    for promise in row.promises:
        tried(promise, row.sample, "cases of faults")


@pytest.mark.deep
@pytest.mark.parametrize("row", CAUGHT)
def test_a_row_catches_each_of_its_mutants_within_its_sample(
    row: Row, tmp_path: Path, planted: RecordMutant
) -> None:
    done = run(tmp_path, row.name, "--mutants")
    assert not done.returncode, f"{done.stdout}{done.stderr}"
    for mutant in row.mutants:
        planted(row.promises[0], mutant.name, killed=True)
