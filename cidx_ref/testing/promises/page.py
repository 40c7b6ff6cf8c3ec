"""A judgement as one page of HTML that can be attached to a pull request.

It has no script and nothing from elsewhere, is readable in the light, in the dark and on paper, and
says each verdict in words, not only in a colour.  Whatever a daemon or a target said is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from cidx_ref.testing.promises.findings import Finding, Measured, Verdict
from cidx_ref.testing.promises.judgement import Judgement, Row
from cidx_ref.testing.promises.style import STYLE
from cidx_ref.testing.promises.wording import count_of, one_line, printable

__all__ = ["as_html"]

#: So much of a trace is shown.
_MAX_TRACE = 20_000

_SIGNS = {
    Verdict.BROKEN: "✗",
    Verdict.EXCUSED: "~",
    Verdict.KEPT: "✓",
    Verdict.NOT_TRIED: "?",
    Verdict.NOT_OFFERED: "·",
}
_HEADINGS = {
    Verdict.BROKEN: ("Broken", "A check has seen that this is not so."),
    Verdict.NOT_TRIED: (
        "Not tried",
        "A check was there, and came to no verdict, or not to its end.",
    ),
    Verdict.EXCUSED: ("Excused", "Broken, and the project knows, for the reason given."),
    Verdict.KEPT: ("Kept", "Tried, and found as promised."),
    Verdict.NOT_OFFERED: ("Not offered", "The target does not have what the promise is about."),
}


def as_html(judgement: Judgement) -> str:
    """The whole document."""
    rows = judgement.rows
    body = "".join(
        _section(verdict, [row for row in rows if row.verdict is verdict])
        for verdict in _HEADINGS
        if any(row.verdict is verdict for row in rows)
    )
    title = f"Promises of {_text(judgement.target)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{_head(judgement)}{body}{_left_out(judgement)}</main>\n{_foot(judgement)}</body>\n</html>\n"
    )


def _head(judgement: Judgement) -> str:
    worst = next(iter(judgement.counts), Verdict.NOT_TRIED)
    said = "".join(f"<p class=warn>{_text(stale)}</p>\n" for stale in judgement.stale)
    if judgement.interrupted:
        said += "<p class=warn>Interrupted: what is not listed was not come to.</p>\n"
    facts = [
        ("date", judgement.began.strftime("%Y-%m-%d %H:%M")),
        ("took", _duration(judgement.seconds)),
        ("depth", "deep" if judgement.deep else "quick"),
        ("seed", str(judgement.seed)),
        ("machine", judgement.machine),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>" for name, value in facts)
    return (
        f'<header class="{_name(worst)}">\n<p class=kicker>Promises of</p>\n'
        f"<h1>{_text(judgement.target)}</h1>\n<p class=sentence>{_text(judgement.sentence)}</p>\n"
        f"{said}{_bar(judgement)}<dl class=facts>{listed}</dl>\n</header>\n"
    )


def _bar(judgement: Judgement) -> str:
    """How many promises have each verdict: a bar, and its legend with the figures."""
    counts = judgement.counts
    parts = "".join(f'<i class="{_name(v)}" style="flex-grow:{n}"></i>' for v, n in counts.items())
    legend = "".join(
        f'<li class="{_name(verdict)}"><a href="#{_name(verdict)}">'
        f"<b>{count:,}</b> {verdict}</a></li>"
        for verdict, count in counts.items()
    )
    return f"<div class=bar aria-hidden=true>{parts}</div>\n<ul class=legend>{legend}</ul>\n"


def _section(verdict: Verdict, rows: list[Row]) -> str:
    heading, meaning = _HEADINGS[verdict]
    show = _missing if verdict is Verdict.NOT_OFFERED else _promise
    return (
        f'<section id="{_name(verdict)}" class="{_name(verdict)}">\n'
        f"<h2>{heading} <small>{len(rows):,}</small></h2>\n<p class=meaning>{meaning}</p>\n"
        f"{''.join(map(show, rows))}</section>\n"
    )


def _promise(row: Row) -> str:
    """One promise, with all that is known of it."""
    finding = row.finding
    words = f"<p class=words>{_text(finding.words)}</p>" if finding.words else ""
    badge = f"<span class=badge>{_SIGNS[row.verdict]} {row.verdict}</span>"
    return (
        f'<article id="{_text(row.id)}" class="{_name(row.verdict)}">\n'
        f"<h3><a href='#{_text(row.id)}'>{_text(row.id)}</a> {badge}</h3>\n"
        f"<p class=promise>{_text(row.text)}</p>\n{words}\n"
        f"{_figures(row.findings)}{_how(finding)}{_checks(row)}</article>\n"
    )


def _missing(row: Row) -> str:
    return (
        f'<p class=missing id="{_text(row.id)}"><b>{_text(row.id)}</b> '
        f"<span class=promise>{_text(row.text)}</span> <em>{_text(row.words)}</em></p>\n"
    )


def _figures(findings: Iterable[Finding]) -> str:
    shown = "".join(_figure(figure) for finding in findings for figure in finding.figures)
    tried: dict[str, int] = {}
    for finding in findings:
        for unit, count in finding.tried.items():
            tried[unit] = tried.get(unit, 0) + count
    if tried:
        said = ", ".join(f"{count:,} {unit}" for unit, count in sorted(tried.items()))
        shown += f"<li>tried <b>{_text(said)}</b></li>"
    return f"<ul class=figures>{shown}</ul>\n" if shown else ""


def _figure(figure: Measured) -> str:
    value = f"{figure.value:,}" if isinstance(figure.value, int) else f"{figure.value:.4g}"
    text = f"{_text(figure.name)} <b>{value} {_text(figure.unit)}</b>"
    if figure.limit is None or figure.limit <= 0:
        return f"<li>{text}</li>"
    share = min(max(figure.value / figure.limit, 0.0), 1.0) * 100
    above = " class=above" if figure.value > figure.limit else ""
    limit = f"limit {figure.limit:.4g} {_text(figure.unit)}".rstrip()
    gauge = f'<span class=gauge><i style="width:{share:.0f}%"></i></span>'
    return f"<li{above}>{text} {gauge} {limit}</li>"


def _how(finding: Finding) -> str:
    """The steps that led to a verdict, and the line that shows it again; of what is kept, none."""
    if finding.verdict is Verdict.KEPT:
        return ""
    said = ""
    if finding.trace:
        trace = printable(finding.trace[:_MAX_TRACE]).rstrip()
        if len(finding.trace) > _MAX_TRACE:
            trace += f"\n… and {len(finding.trace) - _MAX_TRACE:,} characters more"
        said += f"<h4>How it came about</h4>\n<pre class=trace>{escape(trace)}</pre>\n"
    if finding.replay:
        said += f"<h4>To see it again</h4>\n<pre class=replay>{_text(finding.replay)}</pre>\n"
    return said


def _checks(row: Row) -> str:
    """Which checks were about it, and what the others found."""
    others = [
        f"{_text(finding.check)}: {finding.verdict}"
        + (f", {_text(finding.words)}" if finding.words not in ("", row.finding.words) else "")
        for finding in row.findings[1:]
    ]
    told = f"check {_text(row.finding.check)}, {_duration(row.finding.seconds)}"
    return f"<p class=checks>{'; '.join([told, *others])}</p>\n"


def _left_out(judgement: Judgement) -> str:
    notes = list(_notes(judgement))
    return f"<section class=notes>\n{''.join(notes)}</section>\n" if notes else ""


def _notes(judgement: Judgement) -> Iterator[str]:
    if judgement.only_deep:
        deep = _ids(judgement.only_deep)
        yield f"<p>Only checks in depth (<code>--deep</code>) are about {deep}.</p>\n"
    if judgement.unchecked:
        said = count_of(len(judgement.unchecked), "promise")
        yield f"<p>Nothing is said here of {said}: {_ids(judgement.unchecked)}.</p>\n"


def _ids(ids: Iterable[str]) -> str:
    return ", ".join(f"<span>{_text(id_)}</span>" for id_ in ids)


def _foot(judgement: Judgement) -> str:
    return f"<footer>Judged by cidx-ref-testing {_text(judgement.version)}</footer>\n"


def _name(verdict: Verdict) -> str:
    """Of a verdict, as class and id."""
    return verdict.replace(" ", "-")


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _text(said: str) -> str:
    return escape(one_line(said))
