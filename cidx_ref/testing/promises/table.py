"""A judgement for a terminal: the table at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from cidx_ref.testing.promises.findings import Verdict
from cidx_ref.testing.promises.judgement import Judgement, Row
from cidx_ref.testing.promises.wording import one_line, printable

__all__ = ["COLOURS", "lines", "tail"]

#: SGR codes of verdicts, for terminals that have colours.
COLOURS = {
    Verdict.BROKEN: "31;1",
    Verdict.EXCUSED: "33",
    Verdict.KEPT: "32",
    Verdict.NOT_TRIED: "31",
    Verdict.NOT_OFFERED: "2",
}
_VERDICT = max(len(verdict) for verdict in Verdict)
_MIN_WIDTH = 40


def lines(judgement: Judgement, width: int, *, colour: bool = False) -> Iterator[str]:
    """The table: a promise, its verdict and a sentence; figures below; how to replay it."""
    rows = judgement.rows
    ids = max((len(row.id) for row in rows), default=0)
    for row in rows:
        yield from _row(row, ids, width, colour=colour)
    yield from tail(judgement, width)


def tail(judgement: Judgement, width: int) -> Iterator[str]:
    """What is said below the table: what is left out, and the sum."""
    yield ""
    room = max(width - 1, _MIN_WIDTH)
    if judgement.only_deep:
        yield from wrap(f"only with --deep: {', '.join(judgement.only_deep)}", room)
    if judgement.interrupted:
        yield "interrupted: what is not listed was not come to"
    counted = ", ".join(f"{count:,} {verdict}" for verdict, count in judgement.counts.items())
    yield from wrap(f"promises: {counted or 'none tried'}; {judgement.seconds:.0f} s", room)
    yield from wrap(judgement.sentence, room)
    yield from map(one_line, judgement.stale)


def _row(row: Row, ids: int, width: int, *, colour: bool) -> Iterator[str]:
    indent = " " * (ids + 2 + _VERDICT + 2)
    # The last column stays free: some terminals break a line that fills it.
    room = max(width - len(indent) - 1, _MIN_WIDTH)
    verdict = f"{row.verdict:<{_VERDICT}}"
    if colour:
        verdict = f"\x1b[{COLOURS[row.verdict]}m{verdict}\x1b[0m"
    first, *rest = wrap(one_line(row.words), room) or [""]
    yield f"{one_line(row.id):<{ids}}  {verdict}  {first}".rstrip()
    for line in rest:
        yield indent + line
    for noted in _notes(row):
        for line in wrap(noted, room):
            yield indent + line
    if row.verdict in (Verdict.BROKEN, Verdict.NOT_TRIED):
        for line in printable(row.finding.trace).splitlines():
            yield f"{indent}| {line}"
        if row.finding.replay:
            yield f"{indent}replay: {one_line(row.finding.replay)}"


def _notes(row: Row) -> Iterator[str]:
    tried: dict[str, int] = {}
    for finding in row.findings:
        for unit, count in finding.tried.items():
            tried[unit] = tried.get(unit, 0) + count
        for figure in finding.figures:
            yield one_line(str(figure))
    yield from map(one_line, row.beside)
    if tried:
        yield one_line("tried: " + ", ".join(f"{n:,} {unit}" for unit, n in sorted(tried.items())))
    if row.verdict is Verdict.BROKEN and row.text:
        yield one_line(f"promised: {row.text}")
