"""Faults of machines, disks and peers, as rows of a table: what is done, and what must hold then.

    python -m fault_rows                    # all of them, in full
    python -m fault_rows corruption frames  # these
    python -m fault_rows --sample           # of each what `tests/test_fault_rows.py` tries

`table` says what a row is, `trying` tries one in a process of its own, `report` prints what came of
it, and every other module here holds rows of one kind.
"""
