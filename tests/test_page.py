"""The reports on a judgement: one page, XML and JSON, whatever a target or a daemon said."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from cidx_ref.testing.promises.findings import Finding, Measured, Verdict
from cidx_ref.testing.promises.judgement import Judgement
from cidx_ref.testing.promises.page import as_html
from cidx_ref.testing.promises.records import as_json, as_junit
from cidx_ref.testing.promises.registry import PROMISES
from cidx_ref.testing.promises.table import lines

pytestmark = pytest.mark.once

#: What nobody should have to read in a report, or have run by it.
HOSTILE = "<script>alert(1)</script> & \"quoted\" 'x' \x1b[2J\x00 \udcff ]]> {curly} é"

FINDINGS = [
    Finding("SRV-1", Verdict.KEPT, "", "serving", (Measured("clients", 32),), seconds=1.25),
    Finding("SRV-2", Verdict.KEPT, "", "starting"),
    Finding(
        "SRV-2",
        Verdict.BROKEN,
        HOSTILE,
        "races",
        (Measured(HOSTILE, 2.5, HOSTILE, limit=1.0),),
        f"first\n{HOSTILE}",
        f"cidx-verify {HOSTILE}",
        {HOSTILE: 3},
    ),
    Finding("SRV-3", Verdict.NOT_TRIED, "the check itself failed", "killed", trace="x" * 30_000),
    Finding("SRV-4", Verdict.EXCUSED, "143 (excused: known)", "stopping"),
    Finding("QRY-2", Verdict.NOT_OFFERED, "needs full-text search"),
    Finding("MY-1", Verdict.KEPT, "", "own"),
]


def judgement(name: str = "mine:TARGET") -> Judgement:
    promises = {**PROMISES, "MY-1": f"of {HOSTILE}"}
    return Judgement(name, FINDINGS, promises, seconds=83.4, only_deep=["PERF-4"], stale=[HOSTILE])


class Reader(HTMLParser):
    """Sees that what is opened is closed, and notes what there is."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_whole_needs_nothing_else_and_runs_nothing() -> None:
    page = as_html(judgement(name=HOSTILE))
    reader = read(page)
    names = [tag for tag, _ in reader.tags]
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(names)
    for tag, attributes in reader.tags:
        assert not attributes.keys() & {"src", "srcset", "action", "onclick", "onload"}, tag
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in page
    assert "@import" not in page
    policy = next(a["content"] for tag, a in reader.tags if "http-equiv" in a and tag == "meta")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", page)
    page.encode("utf-8")


def test_the_page_says_of_each_promise_verdict_words_figures_steps_and_how_to_replay() -> None:
    shown = judgement()
    reader = read(as_html(shown))
    text = " ".join("".join(reader.text).split())
    assert shown.sentence == "1 of 4 promises that were tried is broken; 1 could not be tried."
    for said in (
        "mine:TARGET",
        shown.sentence,
        "✗ broken",
        "clients 32",
        "<script>alert(1)</script> & \"quoted\" 'x' \\x1b[2J\\x00 \\udcff ]]> {curly} é",
        "2.5 <script>",
        "limit 1 <script>",
        "cidx-verify <script>",
        "first",
        "check races",
        "starting: kept",
        "and 10,000 characters more",
        "needs full-text search",
        "143 (excused: known)",
        "are about PERF-4",
        "1 min 23 s",
        PROMISES["SRV-2"],
    ):
        assert said in text, said
    ids = [a["id"] for _, a in reader.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    assert {"SRV-1", "SRV-2", "SRV-3", "SRV-4", "QRY-2", "MY-1", "broken"} <= set(ids)


def test_the_page_is_readable_in_the_light_in_the_dark_and_on_paper() -> None:
    page = as_html(judgement())
    for said in ("prefers-color-scheme: dark", "@media print", 'content="light dark"'):
        assert said in page


def test_junit_has_a_case_for_each_promise_and_is_xml_whatever_was_said() -> None:
    root = ET.fromstring(as_junit(judgement(name=HOSTILE)))
    (suite,) = root
    cases = {str(case.get("name")): case for case in suite}
    assert [(key, [child.tag for child in case]) for key, case in cases.items()] == [
        ("SRV-1", ["properties", "system-out"]),
        ("SRV-2", ["properties", "failure"]),
        ("SRV-3", ["error"]),
        ("SRV-4", ["skipped"]),
        ("QRY-2", ["skipped"]),
        ("MY-1", ["system-out"]),
    ]
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "1", "errors": "1", "skipped": "2"}
    failure = cases["SRV-2"].find("failure")
    assert failure is not None
    assert str(failure.get("message")).startswith("<script>alert(1)</script> &")
    assert "first\n<script>" in str(failure.text)
    assert "cidx-verify <script>" in str(failure.text)


def test_json_has_all_findings() -> None:
    told = json.loads(as_json(judgement()))
    rows = {row["id"]: row for row in told["promises"]}
    assert [found["check"] for found in rows["SRV-2"]["findings"]] == ["races", "starting"]
    assert rows["SRV-2"]["findings"][0]["words"] == HOSTILE
    assert told["status"] == 2, "an excuse is stale"


def test_the_table_fits_and_steers_no_terminal() -> None:
    shown = list(lines(judgement(), 80))
    text = "\n".join(shown)
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)
    assert max(len(line) for line in shown if "replay" not in line and "|" not in line) <= 80
    assert "kept         " + PROMISES["SRV-1"][:30] in text, "without words: what was promised"
    colours = list(lines(judgement(), 80, colour=True))
    assert colours[0].startswith("SRV-1  \x1b[32mkept")


@pytest.mark.parametrize(
    ("verdicts", "status", "said"),
    [
        ("", 3, "Nothing was tried, so nothing is known."),
        ("o", 3, "Nothing was tried, so nothing is known."),
        ("k", 0, "The one promise that was tried is kept."),
        ("b", 3, "The one promise that was tried is broken."),
        ("bn", 3, "The one promise that was tried is broken; 1 could not be tried."),
        ("kk", 0, "All 2 promises that were tried are kept."),
        ("kkb", 3, "1 of 3 promises that were tried is broken."),
        ("kbbe", 3, "2 of 4 promises that were tried are broken."),
        ("kkn", 3, "All 2 promises that were tried are kept; 1 could not be tried."),
        ("kke", 0, "All 2 promises that were tried are kept, but for 1 that is excused."),
        ("e", 0, "The one promise that was tried is excused."),
    ],
)
def test_the_sum_is_one_sentence_and_one_status(verdicts: str, status: int, said: str) -> None:
    by_letter = {v.value[0]: v for v in Verdict} | {"o": Verdict.NOT_OFFERED}
    by_letter["n"] = Verdict.NOT_TRIED
    found = [
        Finding(id_, by_letter[letter], "x")
        for letter, id_ in zip(verdicts, PROMISES, strict=False)
    ]
    assert (Judgement("m:T", found).status, Judgement("m:T", found).sentence) == (status, said)


def test_the_table_says_which_check_of_a_promise_that_is_kept_was_not_tried() -> None:
    found = [
        Finding("SRV-1", Verdict.KEPT, "right", "asks"),
        Finding("SRV-1", Verdict.NOT_TRIED, "its process was killed", "dies", replay="again"),
        Finding("SRV-1", Verdict.NOT_OFFERED, "needs more", "needs"),
    ]
    shown = [line.strip() for line in lines(Judgement("m:T", found), 100)]
    assert shown[0].endswith("right")
    assert shown[1:3] == ["dies: not tried: its process was killed", ""]


CUT_SHORT = [
    Finding("SRV-1", Verdict.KEPT, "right", "asks"),
    Finding("SRV-1", Verdict.NOT_TRIED, "it was killed", "dies", replay="again", unfinished=True),
    Finding("SRV-2", Verdict.KEPT, "right", "asks"),
]


def test_a_check_that_was_cut_short_decides_before_one_that_kept_and_reports_name_both() -> None:
    judgement = Judgement("m:T", CUT_SHORT)
    assert judgement.status == 3
    assert judgement.sentence == "The one promise that was tried is kept; 1 could not be tried."
    shown = [line.strip() for line in lines(judgement, 100)]
    assert shown[:3] == ["SRV-1  not tried    it was killed", "asks: kept", "replay: again"]
    (row, other) = json.loads(as_json(judgement))["promises"]
    assert (row["verdict"], other["verdict"]) == ("not tried", "kept")
    assert [finding["unfinished"] for finding in row["findings"]] == [True, False]
    cases = list(ET.fromstring(as_junit(judgement))[0])
    error = cases[0].find("error")
    assert error is not None
    assert error.get("message") == "it was killed"
    assert "asks: kept" in str(error.text).splitlines()
    assert "dies" in as_html(judgement)
    assert "asks: kept" in as_html(judgement)


def test_what_is_known_to_be_broken_stays_excused_where_another_check_was_cut_short() -> None:
    known = Finding("SRV-1", Verdict.EXCUSED, "143 (excused: known)", "stopping")
    assert Judgement("m:T", [*CUT_SHORT, known]).status == 0
