"""Refusing: bad arguments by their name, and errors that arrive as such and tell nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cidx_ref.testing.conformance.asking import Asker, Refused, dig
from cidx_ref.testing.conformance.bench import Bench, NotOffered, NotTried
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.sought import refusals
from cidx_ref.testing.conformance.holding import can, gated
from cidx_ref.testing.conformance.target import Cap

__all__ = ["CHECKS", "tells_nothing"]

#: What is of the server's own stack and files.
_INSIDE = re.compile(
    r"Traceback \(most recent call last\)|File \"[^\"]*\", line \d+|/[\w./-]+\.py\b"
)


def _refused(
    asker: Asker, wrong: str, args: Sequence[object], kwargs: Mapping[str, object]
) -> Refused:
    """Raises `AssertionError` if it is answered."""
    method = asker.target.methods.call("query").name
    try:
        answer = asker.call(method, *args, **kwargs)
    except Refused as refused:
        return refused
    raise AssertionError(f"{wrong} is not refused; the answer is {_short(answer)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 150 else text[:150] + "..."


@check("bad-arguments", "QRY-5", needs={Cap.ERRORS}, spawns=False)
def bad_arguments(bench: Bench) -> None:
    """Unknown arguments, wrong types and impossible limits are refused by name."""
    with bench.daemon() as daemon, bench.showing("QRY-5"), daemon.connect() as asker:
        for wrong, args, kwargs, named in refusals(asker):
            refused = _refused(asker, wrong, args, kwargs)
            assert named in refused.message, (
                f"{wrong} is refused without its name: {_short(refused.message)}"
            )
            bench.tried("QRY-5", 1, "bad arguments")


@check("errors", "RPC-2", needs={Cap.ERRORS}, spawns=False)
def errors(bench: Bench) -> None:
    """An error has a name and a message, nothing of the server's own, and costs nobody anything."""
    with bench.daemon() as daemon, bench.showing("RPC-2"), daemon.connect() as asker:
        said = {}
        for wrong, args, kwargs, _ in refusals(asker):
            try:
                refused = _refused(asker, wrong, args, kwargs)
            except AssertionError:
                continue  # it is not refused: which is another promise
            said[wrong] = str(refused)
            has_words = refused.kind and refused.message
            assert has_words, f"the error of {wrong} says nothing: {refused!r}"
            tells_nothing(asker, wrong, refused)
            asker.query("village")  # on the same connection
            bench.tried("RPC-2", 1, "errors")
        assert len(said) < 2 or len(set(said.values())) > 1, (
            f"{len(said)} different faults have the same error: {next(iter(said.values()))!r}"
        )


def tells_nothing(asker: Asker, wrong: str, refused: Refused) -> None:
    """An error tells nothing of the server's own."""
    # The project's own files are the client's, too.
    text = f"{refused.message}\n{refused.traceback}".replace(f"{asker.root}/", "")
    inside = _INSIDE.search(text)
    assert inside is None, (
        f"the error of {wrong} tells of the server's inside: {inside and inside[0]!r}"
    )


_FAILURES = 12


@check("unforeseen-errors", "RPC-2", "OBS-2", needs={Cap.ERRORS})
def unforeseen_errors(bench: Bench) -> None:
    """What nobody has thought of is an error, too: it says nothing of the server's own, costs
    nobody anything, and is counted."""
    if not can(bench, "fail", "RPC-2", "OBS-2"):
        return
    with gated(bench, "fail") as (daemon, gate), daemon.connect(30.0) as asker:
        before = _errors(asker)
        with bench.showing("RPC-2"):
            asker.query("village")
            gate.close()
            for _ in range(_FAILURES):
                _fails(asker)
                bench.tried("RPC-2", 1, "errors")
            gate.open()
            asker.query("village")  # on the same connection
        with bench.showing("OBS-2"):
            if before is None:
                raise NotOffered('needs health["errors"]')
            counted = (_errors(asker) or 0) - before
            assert counted == _FAILURES, f"of {_FAILURES} failures it has counted {counted}"


def _errors(asker: Asker) -> int | None:
    place = asker.target.health.get("errors")
    if place is None or not asker.target.offers(Cap.HEALTH):
        return None
    return int(dig(asker.ask("health"), place))


def _fails(asker: Asker) -> None:
    try:
        answer = asker.query("village")
    except Refused as error:
        refused = error
    else:
        raise NotTried(f"a query does not fail where it should: {answer}")
    has_words = refused.kind and refused.message
    assert has_words, f"an unforeseen error says nothing: {refused!r}"
    tells_nothing(asker, "what nobody has thought of", refused)


CHECKS = [bad_arguments, errors, unforeseen_errors]
