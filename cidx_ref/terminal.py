"""What a person sees in a terminal: results and index runs.  There is no daemon in here.

Whatever a file or a path holds, nothing of it but printable text reaches the terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TextIO

from cidx_ref.columns import ELLIPSIS, TAB, Piece, clean, columns, fit, harmless, rendered
from cidx_ref.progressbar import can_draw
from cidx_ref.shown import escape, shown

if TYPE_CHECKING:
    from cidx_ref.reports import IndexReport, Skipped
    from cidx_ref.results import Answer, Hit

__all__ = [
    "adoption_lines",
    "matches_note",
    "pending_note",
    "plain_lines",
    "relaxed_note",
    "render_answer",
    "run_summary",
    "skipped_lines",
    "unavailable_note",
    "unmatched_notes",
    "use_color",
]

_PATH = "1;35"  # bold magenta
_NUMBER = "32"  # green
_FAINT = "2"
_MATCH = "1;31"  # bold red

_NAMED = 3  # quoted pieces in a note, each of at most so many characters, and places of a hit
_NAMED_CHARS = 60
_GUTTER = 5
_LEAST_ROOM = 40  # columns for the text of an exact line, however long its path is
_LEAD = 16  # columns before a match that would not be seen


def use_color(stream: TextIO | None, env: Mapping[str, str]) -> bool:
    """Whether colors are welcome on `stream`: a terminal that can show them, and no `NO_COLOR`."""
    return can_draw(stream, env) and not env.get("NO_COLOR")


def render_answer(answer: Answer, *, width: int | None, color: bool) -> str:
    """The hits of `answer` for a person: a headline and the numbered snippet of each, with its
    marks in bold.

    No line has more than `width` columns, but for one with a path: nothing cuts where a hit is.
    None cuts nothing at all.  The text ends with a newline and is "" where there is no hit.  Of
    exact lines, there is nothing but the lines, as `grep -n` has them: `matches_note` and the
    others go elsewhere.
    """
    if not answer.results:
        return ""
    if answer.total_matches is not None:
        lines = chain.from_iterable(_line_hit(hit, width) for hit in answer.results)
        return "\n".join(rendered(lines, None, color)) + "\n"
    blocks = ["\n".join(rendered(_hit(hit, width), None, color)) for hit in answer.results]
    notes = filter(None, (unavailable_note(answer), pending_note(answer)))
    blocks += ["\n".join(rendered([[(note, _FAINT)]], width, color)) for note in notes]
    return "\n\n".join(blocks) + "\n"


def unavailable_note(answer: Answer) -> str:
    """One line on the engines `answer` had to do without, and why; "" if there are none."""
    reasons = "; ".join(f"{engine}: {why}" for engine, why in answer.unavailable.items())
    return clean(f"(without {reasons})") if reasons else ""


def pending_note(answer: Answer) -> str:
    """One line on what `answer` does not know of yet; "" if that is nothing."""
    if answer.pending is None and answer.fresh is None and answer.indexed_at is not None:
        if answer.source == "cidx":  # which is not watched, and is made fresh nowhere but there
            return ""
        return "whether files have changed since is not known: --fresh looks"
    if not answer.pending:
        return ""
    files, them = ("1 file", "it") if answer.pending == 1 else (f"{answer.pending} files", "them")
    if answer.fresh is not None:  # it was asked for
        return f"{files} changed since"
    return f"{files} changed since: --fresh waits for {them}"


def relaxed_note(answer: Answer) -> str:
    """One line on the quoted pieces of the query that were let go, or on the name that nothing has;
    "" if there are none."""
    pieces = answer.relaxed
    if not pieces and answer.missing:
        instead = shown(answer.meant) if answer.meant else "what is like it"
        return f"nothing indexed has the name {shown(answer.missing)}: {instead} was looked for"
    if not pieces:
        return ""
    cut = ((each[:_NAMED_CHARS], ELLIPSIS * (len(each) > _NAMED_CHARS)) for each in pieces)
    named = ", ".join(f'"{escape(text)}{more}"' for text, more in islice(cut, _NAMED))
    if len(pieces) > _NAMED:
        named += f" and {len(pieces) - _NAMED} more"
    whose = "its words were" if len(pieces) == 1 else "their words were"
    return f"no hit has {named} as written: {whose} looked for"


def unmatched_notes(
    answer: Answer, called: Mapping[str, str], typed: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """What filters no file matches: `called` has the option of each argument, and `typed` what was
    typed for each pattern."""
    for name, unmatched in answer.unmatched.items():
        for pattern, likest in unmatched.items():
            said = shown(typed.get(name, {}).get(pattern, pattern))
            hint = f" (did you mean {shown(likest)}?)" if likest else ""
            yield f"no file matches {called.get(name, name)} {said}{hint}"


def matches_note(answer: Answer) -> str:
    """One line on the matches that `answer` does not show; "" if there are none."""
    total, shown = answer.total_matches, len(answer.results)
    if total is None or (total <= shown and not answer.more_matches):
        return ""
    if total <= shown:
        return (
            f"{total} lines, and not all was looked through: a simpler pattern, or --path, may do"
        )
    at_least = "at least " if answer.more_matches else ""
    return f"{shown} of {at_least}{total} lines: --limit N shows more"


def run_summary(report: IndexReport) -> str:
    """What an index run did, in one line."""
    skipped = ", ".join(f"{count} {why}" for why, count in sorted(report["skipped"].items()))
    state = "indexed" if report["changed"] else "up to date"
    removed = report["removed"]
    return escape(
        f"{state}: {report['files']} files, {report['chunks']} chunks in "
        f"{report['took_ms'] / 1000:.1f} s (generation {report['generation']})"
        + (f"; {report['guessed']} decoded by guess" if report["guessed"] else "")
        + (f"; skipped: {skipped}" if skipped else "")
        + (f"; removed, not signed by this account: {', '.join(removed)}" if removed else "")
    )


def adoption_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """What `adopt` has taken, which engine answers from it, and what was left out, a line each."""
    yield "adopted: {files} files, {chunks} chunks (generation {generation})".format(**report)
    if "problems" not in report:  # of our format: all of it serves
        return
    holds = {
        "semantic": "{vectors} vectors of the model {collection}",
        "fts": "{documents} documents",
    }
    for engine, what in holds.items():
        problem = report["problems"].get(engine)
        name = "semantic search" if engine == "semantic" else "full text"
        yield f"{name}: no: {problem}" if problem else f"{name}: {what.format(**report)}"
    if count := report["left_out"]:
        yield (
            f"left out: {count} vectors of versions of files that are neither here nor in git: "
            "have these indexed there, or adopt again when they are back"
        )
    if count := report["missing_files"]:
        yield f"not here any more: {count} files; hits in them are of the old text, and say stale"
    if names := report["other_collections"]:
        yield f"not used: of other models, {', '.join(names)}"
    if report["source"] == "own":
        yield "which answers: ours, as there is one; `--source cidx` asks this one"


def skipped_lines(skipped: Skipped) -> Iterator[str]:
    """One line each; first what is rare, which thousands of binary files would hide."""
    counts = skipped["counts"]
    for file in sorted(skipped["files"], key=lambda file: (counts[file["reason"]], file["reason"])):
        yield f"{escape(file['path'])}: {escape(file['reason'])}"
    more = sum(skipped["counts"].values()) - len(skipped["files"])
    if more:
        yield f"and {more} more"


def plain_lines(value: Any, indent: str = "") -> list[str]:
    """A readable form of what the daemon says: one `key: value` a line."""
    lines: list[str] = []
    pairs = value.items() if isinstance(value, dict) else ((f"{i}", v) for i, v in enumerate(value))
    for key, item in pairs:
        if isinstance(item, dict | list) and item:
            lines += [f"{indent}{escape(key)}:", *plain_lines(item, indent + "  ")]
        else:
            lines.append(f"{indent}{escape(key)}: {_said(item)}")
    return lines


def _said(value: Any) -> str:
    if isinstance(value, str):
        return escape(value)
    return "none" if value in ({}, []) else json.dumps(value)


def _hit(hit: Hit, width: int | None) -> Iterator[list[Piece]]:
    place, told, kind = _headline(hit)
    if width is not None and _width_of([*place, *told]) > width:
        yield place
        lines = chain([[*told, *kind]], _shown(hit))
    else:
        lines = chain([[*place, *told, *kind]], _shown(hit))
    yield from lines if width is None else (fit(line, width) for line in lines)


def _width_of(pieces: list[Piece]) -> int:
    return sum(columns(text) for text, _ in pieces)


def _shown(hit: Hit) -> Iterator[list[Piece]]:
    if hit.signals:
        yield [(f"  {_explained(hit)}", _FAINT)]
    if hit.also:
        yield [(f"  also in {_also(hit)}", _FAINT)]
    if not hit.snippet:
        return
    lines = hit.snippet.removesuffix("\n").split("\n")
    first = hit.snippet_start or hit.line_start
    digits = max(_GUTTER, len(str(first + len(lines) - 1)))
    place = 0
    for number, line in enumerate(lines, first):
        text = _marked(line.removesuffix("\r"), [(a - place, b - place) for a, b in hit.marks])
        place += len(line) + 1
        gutter = [(f"{number:>{digits}}", _NUMBER), (" │", _FAINT)]
        yield [*gutter, (" ", ""), *text] if text else gutter


def _marked(line: str, marks: Iterable[tuple[int, int]]) -> list[Piece]:
    """A line as it may be shown, in pieces: the `marks` are places in it as it is.

    Blanks stand for its tabs, and none at its end.
    """
    pieces: list[Piece] = []
    column = 0
    for text, style in _parted(line, marks):
        before = " " * (column % TAB)  # a tab goes on from where the piece before it ends
        shown = clean(before + text)[len(before) :]
        column += len(shown)
        pieces.append((shown, style))
    while pieces and pieces[-1][0] != (shown := pieces[-1][0].rstrip()):
        pieces[-1:] = [(shown, pieces[-1][1])] if shown else []
    return pieces


def _parted(line: str, marks: Iterable[tuple[int, int]]) -> Iterator[Piece]:
    """A line in harmless pieces, cut at the `marks` before that may change its length."""
    end = 0
    for mark in (*marks, (len(line), len(line))):
        start, stop = (min(max(place, end), len(line)) for place in mark)
        for text, style in (line[end:start], ""), (line[start:stop], _MATCH):
            if text:
                yield harmless(text), style
        end = max(start, stop)


def _line_hit(hit: Hit, width: int | None) -> Iterator[list[Piece]]:
    """A hit of exact lines: each line with its path and number."""
    begin = 0
    for number, line in enumerate(hit.snippet.split("\n"), hit.line_start):
        end = begin + len(line)
        marks = [
            (max(start, begin) - begin, min(stop, end) - begin)
            for start, stop in hit.marks
            if start < end and stop > begin
        ]
        place = [(escape(hit.path), _PATH), (":", ""), (str(number), _NUMBER), (":", "")]
        if hit.stale:
            place.append(("(stale) ", _FAINT))
        room = None if width is None else max(width - _width_of(place), _LEAST_ROOM)
        at = 0
        if room is not None and marks and marks[0][1] > room:  # from near the first match on
            at = max(0, marks[0][0] - _LEAD)
            place.append((ELLIPSIS, _FAINT))
        shown = line[at:].removesuffix("\r")
        marks = [(start - at, stop - at) for start, stop in marks]
        if width is None:
            yield [*place, *_parted(shown, marks)]
        else:
            wide = max(width, _width_of(place) + _LEAST_ROOM)
            yield fit([*place, *_marked(shown, marks)], wide)
        begin = end + 1


def _headline(hit: Hit) -> tuple[list[Piece], list[Piece], list[Piece]]:
    """Where a hit is, what is told of it, and its kind, which goes first where room is short."""
    from cidx_ref.results import best_line

    line = (hit.snippet_start or hit.line_start) + best_line(hit.snippet, hit.marks)
    place = [(escape(hit.path), _PATH), (":", ""), (str(line), _NUMBER)]
    if hit.stale:
        place.append((" (stale)", ""))
    told = [(f"  {_score(hit.score)}", _FAINT)]
    told.extend((f"  {clean(text)}", "") for text in (hit.language, hit.name) if text)
    return place, told, [(f"  {clean(hit.kind)}", _FAINT)] if hit.kind else []


def _also(hit: Hit) -> str:
    """Where else stands what `hit` shows."""
    named = hit.also[:_NAMED]
    more = max(hit.also_count, len(hit.also)) - len(named)
    return ", ".join(map(escape, named)) + (f" and {more} more" if more else "")


def _explained(hit: Hit) -> str:
    """What made the score of `hit`: a sum, and its factors."""
    from cidx_ref.results import ADDED_SIGNALS

    added = [f"{name} {hit.signals[name]:.2f}" for name in ADDED_SIGNALS if hit.signals.get(name)]
    factors = [
        f" * {clean(name)} {value:.2f}"
        for name, value in hit.signals.items()
        if name not in ADDED_SIGNALS
    ]
    total = " + ".join(added)
    return f"= {f'({total})' if factors and len(added) > 1 else total}{''.join(factors)}"


def _score(score: float) -> str:
    return f"{score:.2f}" if abs(score) >= 0.1 else f"{score:#.3g}"
