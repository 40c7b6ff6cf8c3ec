"""A judgement: what all findings say of a target, in sum and promise by promise.

Here belong the order of the rows, the sentence at their head, and the exit status.  How a judgement
is written down is in `table`, `records` and `page`.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cidx_ref.testing.ground import SYSTEM, __version__
from cidx_ref.testing.promises.findings import Finding, Verdict, by_promise
from cidx_ref.testing.promises.registry import PROMISES
from cidx_ref.testing.promises.wording import count_of

__all__ = ["KEPT", "NOT_KEPT", "UNUSABLE", "Judgement", "Row", "machine"]

#: Exit statuses: all that was tried is kept; something is broken, or was not tried; nothing can be
#: said, because of what is asked.
KEPT, NOT_KEPT, UNUSABLE = 0, 3, 2


@dataclass(frozen=True)
class Row:
    """What is known of one promise."""

    id: str
    #: The promise itself.
    text: str
    #: All findings; the one that decides is the first.
    findings: tuple[Finding, ...]

    @property
    def finding(self) -> Finding:
        return self.findings[0]

    @property
    def verdict(self) -> Verdict:
        return self.finding.verdict

    @property
    def words(self) -> str:
        """One sentence: what was seen, or else what was promised."""
        return self.finding.words or self.text

    @property
    def beside(self) -> list[str]:
        """What is to be known of other checks: which had no verdict; or kept it, where one has
        not come to its end."""
        if self.verdict is Verdict.BROKEN:
            return []
        return [
            f"{found.check}: {found.verdict}"
            + (f": {found.words}" if found.verdict is Verdict.NOT_TRIED else "")
            for found in self.findings[1:]
            if found.verdict in (Verdict.KEPT, Verdict.NOT_TRIED) and found.verdict != self.verdict
        ]


@dataclass(frozen=True)
class Judgement:
    """What was found of a target."""

    #: As its user names it: `conformance:TARGET`.
    target: str
    findings: Sequence[Finding]
    #: Every promise that there is, the target's own ones too: its text.
    promises: Mapping[str, str] = field(default_factory=lambda: PROMISES)
    began: datetime = field(default_factory=SYSTEM.now)
    seconds: float = 0.0
    seed: int = 0
    deep: bool = False
    #: Promises about which only checks in depth are.
    only_deep: Sequence[str] = ()
    #: What is wrong with the excuses, a sentence each.
    stale: Sequence[str] = ()
    interrupted: bool = False
    machine: str = field(default_factory=lambda: machine())
    version: str = __version__

    @property
    def rows(self) -> list[Row]:
        """One for each promise of which there is a finding, in the order of the promises."""
        grouped = by_promise(self.findings)
        order = [*(id_ for id_ in self.promises if id_ in grouped)]
        order += [id_ for id_ in grouped if id_ not in self.promises]
        return [Row(id_, self.promises.get(id_, ""), tuple(grouped[id_])) for id_ in order]

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many promises have each verdict, those with none left out."""
        counted = Counter(row.verdict for row in self.rows)
        return {verdict: counted[verdict] for verdict in Verdict if counted[verdict]}

    @property
    def unchecked(self) -> list[str]:
        """Promises of the kit of which this run says nothing."""
        found = {row.id for row in self.rows} | set(self.only_deep)
        return [id_ for id_ in self.promises if id_ not in found]

    @property
    def status(self) -> int:
        """The exit status."""
        if self.stale:
            return UNUSABLE
        counts = self.counts
        tried = counts.get(Verdict.KEPT, 0) + counts.get(Verdict.EXCUSED, 0)
        if counts.get(Verdict.BROKEN) or counts.get(Verdict.NOT_TRIED) or not tried:
            return NOT_KEPT
        return KEPT

    @property
    def sentence(self) -> str:
        """The judgement in one sentence."""
        counts = self.counts
        broken, untried = counts.get(Verdict.BROKEN, 0), counts.get(Verdict.NOT_TRIED, 0)
        kept, excused = counts.get(Verdict.KEPT, 0), counts.get(Verdict.EXCUSED, 0)
        tried = broken + kept + excused
        if not tried:
            return "Nothing was tried, so nothing is known."
        if tried == 1:
            verdict = "broken" if broken else "kept" if kept else "excused"
            said = f"The one promise that was tried is {verdict}"
        elif broken:
            are = "is" if broken == 1 else "are"
            said = f"{broken:,} of {count_of(tried, 'promise')} that were tried {are} broken"
        else:
            said = f"All {count_of(kept, 'promise')} that were tried are kept"
            if excused:
                said += f", but for {excused:,} that {'is' if excused == 1 else 'are'} excused"
        if untried:
            said += f"; {untried:,} could not be tried"
        return said + "."


def machine() -> str:
    """This machine in a word."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = count_of(os.cpu_count() or 1, "core")
    system = f"{platform.system()} {platform.machine()}"
    return f"{system}, {cores}, {memory:.0f} GB, Python {platform.python_version()}"
