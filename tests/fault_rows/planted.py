"""`cidx-ref` with a mutant of a row in it: `python -m fault_rows.planted ROW:MUTANT ...`."""

from __future__ import annotations

import sys

from cidx_ref.cli import main
from fault_rows.table import MUTANTS, load

if __name__ == "__main__":
    load()
    with MUTANTS[sys.argv[1]].plant():
        raise SystemExit(main(sys.argv[2:]))
