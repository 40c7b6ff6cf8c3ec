"""Refusing: bad arguments by their name, and errors that arrive as such and tell nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cidx_ref.testing.conformance.asking import Asker, Refused
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.sought import refusals
from cidx_ref.testing.conformance.target import Cap

__all__ = ["CHECKS"]

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
            # The project's own files are the client's, too.
            text = f"{refused.message}\n{refused.traceback}".replace(f"{asker.root}/", "")
            inside = _INSIDE.search(text)
            assert inside is None, (
                f"the error of {wrong} tells of the server's inside: {inside and inside[0]!r}"
            )
            asker.query("village")  # on the same connection
            bench.tried("RPC-2", 1, "errors")
        assert len(said) < 2 or len(set(said.values())) > 1, (
            f"{len(said)} different faults have the same error: {next(iter(said.values()))!r}"
        )


CHECKS = [bad_arguments, errors]
