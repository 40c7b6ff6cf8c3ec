"""What came of mutants, for programs: JSON, and JUnit's XML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree as ET

from cidx_ref.testing.conformance.mutants import Outcome
from cidx_ref.testing.ground import __version__
from cidx_ref.testing.promises.judgement import KEPT, NOT_KEPT
from cidx_ref.testing.promises.wording import one_line, printable

__all__ = ["Planted"]


@dataclass(frozen=True)
class Planted:
    """A run with mutants."""

    target: str
    outcomes: Sequence[Outcome]
    began: datetime
    seconds: float
    seed: int
    deep: bool
    interrupted: bool

    @property
    def killed(self) -> int:
        return sum(outcome.killed for outcome in self.outcomes)

    @property
    def status(self) -> int:
        """The exit status: that of broken promises if one survives."""
        return KEPT if self.killed == len(self.outcomes) else NOT_KEPT

    def as_json(self) -> str:
        document = {
            "kit": __version__,
            "target": self.target,
            "date": self.began.astimezone().isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "seed": self.seed,
            "deep": self.deep,
            "interrupted": self.interrupted,
            "status": self.status,
            "killed": self.killed,
            "mutants": [
                {"name": each.name, "promise": each.promise, "killed": each.killed}
                | {"words": each.words}
                for each in self.outcomes
            ],
        }
        return json.dumps(document, indent=2) + "\n"

    def as_junit(self) -> str:
        """One test suite, with a test case for each mutant; it fails where one survives."""
        counts = {
            "tests": str(len(self.outcomes)),
            "failures": str(len(self.outcomes) - self.killed),
            "time": f"{self.seconds:.3f}",
        }
        root = ET.Element("testsuites", {"name": "mutants", **counts})
        named = {"name": printable(self.target), **counts}
        suite = ET.SubElement(root, "testsuite", named)
        suite.set("timestamp", self.began.isoformat(timespec="seconds"))
        for each in self.outcomes:
            names = {"classname": printable(each.promise), "name": printable(each.name)}
            case = ET.SubElement(suite, "testcase", names)
            if each.killed:
                ET.SubElement(case, "system-out").text = one_line(each.words)
            else:
                ET.SubElement(case, "failure", {"message": one_line(each.words)})
        ET.indent(root)
        text = ET.tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'
