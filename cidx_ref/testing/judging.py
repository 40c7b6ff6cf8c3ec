"""A target judged by pytest: one test for each of its promises, which runs the checks about it.

Here belongs how findings become outcomes.  Kept: passed.  Not offered: skipped, with the reason.
Excused: an expected failure.  Broken, not tried, or an excuse that is stale: failed, in words and
without a traceback.  `plugin` plugs it in where `--cidx-target` is used.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.testing.conformance.named import target_named
from cidx_ref.testing.conformance.running import plan, verify
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.excuses import Excuse, check_excuses, read_excuses, without_use
from cidx_ref.testing.promises.findings import Finding, Verdict, by_promise
from cidx_ref.testing.promises.picking import promises_of
from cidx_ref.testing.promises.report import FIGURE, TRIED
from cidx_ref.testing.promises.wording import one_line, printable

__all__: list[str] = []


class _Judge:
    """The target of a run: its checks, each of which is run at most once, when it is needed."""

    def __init__(self, config: pytest.Config) -> None:
        self.name = str(config.getoption("cidx_target"))
        self.promises = promises_of(config)
        own = config.getini("cidx_promises")
        #: The target, and what belongs to it, as one types them to see a finding again.
        self.spelled = shlex.join([self.name, *(["--promises", str(own)] if own else [])])
        self.deep = bool(config.getoption("cidx_deep"))
        self.seed = int(config.getoption("cidx_seed"))
        file = config.getoption("cidx_excuses")
        self.excuses: list[Excuse] = read_excuses(Path(file)) if file else []
        check_excuses(self.excuses, self.promises, SYSTEM.now().date())
        self.target = target_named(self.name)
        self.plan = plan(self.target, deep=self.deep)
        self._found: dict[str, list[Finding]] = {}
        for id_ in (id_ for check in self.plan.checks for id_ in check.promises):
            if id_ not in self.promises:
                raise ValueError(f"{self.name}: {id_} is no promise (see cidx_promises)")
        for said in without_use(self.excuses, (), {*self.tried, *self.plan.only_deep}):
            raise ValueError(said)

    @property
    def tried(self) -> list[str]:
        """The promises that checks are run for."""
        return [p for check in self.plan.checks for p in check.promises]

    @property
    def ids(self) -> list[str]:
        """All promises of which there will be a verdict, in the order of the promises."""
        known = {*self.tried, *(finding.promise for finding in self.plan.settled)}
        return [id_ for id_ in self.promises if id_ in known]

    def lacks(self, id_: str) -> str:
        """Why a promise is not tried at all; empty if it is."""
        if id_ in self.tried and id_ not in self.target.not_offered:
            return ""
        return next(found.words for found in self.plan.settled if found.promise == id_)

    def findings(self, id_: str) -> list[Finding]:
        """What is found of one promise, what decides first."""
        about = [check.name for check in self.plan.checks if id_ in check.promises]
        for check in about:
            if check not in self._found:
                self._found[check] = verify(
                    self.target,
                    deep=self.deep,
                    only=[check],
                    seed=self.seed,
                    excuses=self.excuses,
                    name=self.spelled,
                )
        return by_promise(f for check in about for f in self._found[check])[id_]


class _Target(pytest.Collector):
    """What the tests belong to."""

    judge: _Judge

    def collect(self) -> Iterator[pytest.Item]:
        for id_ in self.judge.ids:
            item = _Promise.from_parent(self, name=id_, judge=self.judge)
            item.add_marker(pytest.mark.promise(id_))
            if reason := self.judge.lacks(id_):
                item.add_marker(pytest.mark.skip(reason=f"not offered: {one_line(reason)}"))
            yield item


class _NotKept(Exception):  # noqa: N818 - no error of the test
    """A promise that is broken, or of which there is no verdict; the text is all that is said."""


class _Promise(pytest.Item):
    """The test of one promise."""

    def __init__(self, *, judge: _Judge, **options: Any) -> None:
        super().__init__(**options)
        self._judge = judge

    def runtest(self) -> None:
        findings = self._judge.findings(self.name)
        for finding in findings:
            self._record(finding)
        decisive = findings[0]
        mine = [excuse for excuse in self._judge.excuses if excuse.id == self.name]
        if stale := without_use(mine, findings):
            raise _NotKept("\n".join(stale))
        if decisive.verdict is Verdict.NOT_OFFERED:
            pytest.skip(f"not offered: {one_line(decisive.words)}")
        if decisive.verdict is Verdict.EXCUSED:
            pytest.xfail(one_line(decisive.words))
        if decisive.verdict is not Verdict.KEPT:
            raise _NotKept(self._told(findings))

    def _record(self, finding: Finding) -> None:
        for figure in finding.figures:
            told = (self.name, figure.name, figure.value, figure.unit)
            self.user_properties.append((FIGURE, told))
        for unit, count in finding.tried.items():
            self.user_properties.append((TRIED, (self.name, count, unit)))

    def _told(self, findings: Sequence[Finding]) -> str:
        finding = findings[0]
        figures = [str(figure) for found in findings for figure in found.figures]
        parts = [
            f"{finding.verdict}: {one_line(finding.words)}",
            f"promised: {self._judge.promises[self.name]}",
            *map(one_line, figures),
            *(f"| {line}" for line in printable(finding.trace).splitlines()),
            f"replay: {one_line(finding.replay)}",
        ]
        return "\n".join(parts)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, _NotKept):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self._judge.name} {self.name}"


_JUDGE = pytest.StashKey[_Judge]()


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[_JUDGE] = _Judge(config)
    except ValueError as error:
        raise pytest.UsageError(f"--cidx-target: {one_line(str(error))}") from None


def pytest_report_header(config: pytest.Config) -> str:
    judge = config.stash[_JUDGE]
    depth = "deep" if judge.deep else "quick"
    count = len(judge.plan.checks)
    return f"promises of {judge.name}: {len(judge.ids)}, by {count} checks ({depth})"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    # Before other plugins choose among all tests, and count them.
    judge = session.config.stash[_JUDGE]
    collector = _Target.from_parent(session, name=judge.name, nodeid=judge.name)
    collector.judge = judge
    items.extend(collector.collect())
