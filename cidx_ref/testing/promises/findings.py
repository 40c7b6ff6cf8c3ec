"""What a check found: of one promise, a verdict, in words that its reader can act on.

Here belong findings and how several of them make one verdict.  Who checks is elsewhere
(`conformance`), and so is who prints (`promises.page`, `promises.report`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

__all__ = ["Finding", "Measured", "Verdict", "by_promise"]


class Verdict(StrEnum):
    """What is known of a promise.  Where several findings differ, the first of these counts."""

    BROKEN = "broken"
    #: Broken, and the project says that it knows, and why.
    EXCUSED = "excused"
    KEPT = "kept"
    #: A check was there, and came to no verdict; or not to its end, whatever others found kept.
    NOT_TRIED = "not tried"
    #: The target does not have what the promise is about; `words` says what is missing.
    NOT_OFFERED = "not offered"


@dataclass(frozen=True)
class Measured:
    """One figure: `Measured("p95 of 200 queries", 3.2, "ms", limit=100.0)`."""

    name: str
    value: float
    unit: str = ""
    #: What it must not be above; None: it is only reported.
    limit: float | None = None

    def __str__(self) -> str:
        value = str(self.value) if isinstance(self.value, int) else f"{self.value:.4g}"
        said = f"{self.name}: {value} {self.unit}".rstrip()
        return (
            said if self.limit is None else f"{said} (limit {self.limit:.4g} {self.unit})".rstrip()
        )


@dataclass(frozen=True)
class Finding:
    """What one check found of one promise."""

    promise: str
    verdict: Verdict
    #: One sentence: what was seen; of what is not offered, what is missing; of an excuse, why.
    words: str
    #: The name of the check, by which `verify --only` runs it alone.
    check: str = ""
    figures: tuple[Measured, ...] = ()
    #: The steps that led there, made as short as the check could: lines of text.
    trace: str = ""
    #: One command line that shows it again.
    replay: str = ""
    #: How many schedules, examples, rounds and so on were tried.
    tried: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    #: Not tried, because the check did not come to its end: what others kept is not all then.
    unfinished: bool = False

    def excused(self, reason: str) -> Finding:
        """The same, known and excused for that reason."""
        return replace(self, verdict=Verdict.EXCUSED, words=f"{self.words} (excused: {reason})")


def by_promise(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """The findings of each promise, the one that decides its verdict first."""
    grouped: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=_rank):
        grouped.setdefault(finding.promise, []).append(finding)
    return grouped


def _rank(finding: Finding) -> float:
    order = list(Verdict)
    if finding.unfinished:
        return order.index(Verdict.KEPT) - 0.5
    return order.index(finding.verdict)
