"""A sample of each row of the table of faults, and the mutants that it catches.

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


@pytest.mark.parametrize("row", EVERY)
def test_nothing_is_lost_whatever_the_fault(
    row: Row, tmp_path: Path, tried: RecordTried, planted: RecordMutant
) -> None:
    command = [sys.executable, "-P", "-m", "fault_rows", row.name, "--sample"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert not done.returncode, f"{done.stdout}{done.stderr}"
    if "not tried: " in done.stdout:
        pytest.skip(done.stdout.partition("not tried: ")[2].splitlines()[0])
    for promise in row.promises:
        tried(promise, row.sample, "cases of faults")
    for mutant in row.mutants:
        planted(row.promises[0], mutant.name, killed=True)
