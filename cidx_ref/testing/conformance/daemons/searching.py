"""Searching: the right file, lines that exist, and any text as a query."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import hypothesis
from hypothesis import HealthCheck, Phase, configuration, settings
from hypothesis import strategies as st

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Answer, Asker, Gone, Refused
from cidx_ref.testing.conformance.bench import Bench, NotTried
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.shape import Shift, look_at, not_shifted, once, shifts_in
from cidx_ref.testing.conformance.daemons.sought import modes, sound
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Cap

__all__ = ["CHECKS"]

#: Of so many questions, as many must have their file first where several files are found.
_RANKED = 10
_FIRST = 0.7


def _searched(bench: Bench, promise: str, mode: str) -> None:
    with bench.daemon() as daemon, bench.showing(promise):
        bench.need_hits()
        with daemon.connect() as asker:
            _finds_the_files(bench, asker, promise, mode)
            _ranks(bench, asker, mode)


def _finds_the_files(bench: Bench, asker: Asker, promise: str, mode: str) -> None:
    shifts: list[Shift] = []
    is_here = asker.root.is_dir()  # and not at another host
    for query, path in bench.questions:
        if is_here and not (asker.root / path).is_file():
            raise NotTried(f"questions: {path} is no file of {asker.root}")
        answer = _answered(asker, query, mode, limit=5)
        assert path in answer.paths, (
            f"{query!r} stands in {path} and nowhere else; the answer is {answer}"
        )
        if is_here:
            for hit in answer.hits:
                look_at(asker.root, hit, query)
            shifts += shifts_in(asker.root, answer)
        bench.tried(promise, 1, "questions")
    not_shifted(shifts)


def _answered(asker: Asker, query: str, mode: str, limit: int) -> Answer:
    """An answer that has as many hits as were asked for, at most, and each of them once."""
    answer = asker.query(query, mode, limit)
    assert len(answer.hits) <= limit or not asker.target.methods.call(mode).takes("limit"), (
        f"{query!r}, with a limit of {limit}, finds {len(answer.hits)}: {answer}"
    )
    once(answer, query)
    return answer


def _ranks(bench: Bench, asker: Asker, mode: str) -> None:
    """A file that has more of what is asked for stands before those that have less."""
    if bench.questions is not corpus.QUESTIONS:
        return
    ranked = []
    for query, path in bench.questions[:_RANKED]:
        answer = _answered(asker, f"{query} {corpus.COMMON}", mode, limit=10)
        if path in answer.paths and len(set(answer.paths)) > 1:
            ranked.append((query, path, answer))
    first = [path for _, path, answer in ranked if answer.paths[0] == path]
    if len(first) < _FIRST * len(ranked):
        query, path, answer = next(each for each in ranked if each[2].paths[0] != each[1])
        raise AssertionError(
            f"of {len(ranked)} questions only {len(first)} have the best file first: all words of "
            f"'{query} {corpus.COMMON}' stand in {path} alone, and the answer is {answer}"
        )


@check("semantic", "QRY-1", spawns=False)
def semantic(bench: Bench) -> None:
    _searched(bench, "QRY-1", "query")


@check("full-text", "QRY-2", needs={Cap.FTS}, spawns=False)
def full_text(bench: Bench) -> None:
    _searched(bench, "QRY-2", "query_fts")


@check("hybrid", "QRY-3", needs={Cap.HYBRID}, spawns=False)
def hybrid(bench: Bench) -> None:
    _searched(bench, "QRY-3", "query_hybrid")


# Any text.

#: What two words are asked with.  No other words: all of a query may have to be found.
_MARKS = (
    *(
        "({} {})",
        "{}({})",
        "{}.{}",
        "{}::{}",
        "[{}] {}",
        "{{{}: {}}}",
        "{} {}?",
        '"{} {}',
        "{} {}'",
    ),
    *("{}/{}", "{}\\{}", "{} {}*", "{} {}~", "^{} {}", "{}, {}; !", "{} = {}", "{}:{}", "{}\n{}"),
    *("{}\t{}", "{} <{}>", "{} {} #$%&@"),
)
#: All that a text may hold and that can be written down.
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


@check("any-text", "QRY-4", spawns=False)
def any_text(bench: Bench) -> None:
    """No text is refused, whatever it holds."""
    with bench.daemon() as daemon, bench.showing("QRY-4"), _nothing_kept(bench):
        offered = list(modes(bench.target))
        examples = 500 if bench.deep else 60
        for mode in offered:
            _ask_texts(bench, daemon, mode, examples // len(offered))


@contextmanager
def _nothing_kept(bench: Bench) -> Iterator[None]:
    """What hypothesis writes down goes with the bench, and not into the user's directory."""
    configuration.set_hypothesis_home_dir(bench.directory / "hypothesis")
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(None)


def _ask_texts(bench: Bench, daemon: Daemon, mode: str, examples: int) -> None:
    asker = daemon.connect()

    def ask(text: str) -> None:
        nonlocal asker
        bench.tried("QRY-4", 1, "texts")
        try:
            asker.query(text, mode)
        except (Refused, Gone, TimeoutError) as error:
            asker.close()
            asker = daemon.connect()
            raise AssertionError(f"{text!r} is a text, and no legal query: {error}") from None

    test = hypothesis.given(_TEXTS)(ask)
    for text in ("", " ", "(", '"', "a AND", "x:y", "\0", "'; --", "\\", "*"):
        test = hypothesis.example(text)(test)
    hypothesis.seed(bench.seed)(
        settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            verbosity=hypothesis.Verbosity.quiet,
        )(test)
    )()


@check("punctuation", "QRY-4", spawns=False)
def punctuation(bench: Bench) -> None:
    """Words that find a file find it with punctuation, too."""
    with bench.daemon() as daemon, bench.showing("QRY-4"), daemon.connect() as asker:
        for mode in modes(bench.target):
            questions = sound(bench, asker, len(_MARKS), mode)
            # Words that one line has side by side, and that are also found apart.
            for mark, (query, path) in zip(_MARKS, questions, strict=False):
                words = query.split()
                text = mark.format(words[0], words[-1])
                answer = asker.query(text, mode)
                assert answer.hits, (
                    f"{query!r} finds {path}, and {text!r}, with punctuation, finds nothing"
                )
                bench.tried("QRY-4", 1, "marks")


CHECKS = [semantic, full_text, hybrid, any_text, punctuation]
