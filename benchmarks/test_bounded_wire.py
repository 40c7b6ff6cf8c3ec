"""A search for the dearest message: whatever a peer sends, reading and serving it takes a time that
grows no faster than its size (RPC-6)."""

from __future__ import annotations

from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from frames import Raw, Scripted, equal_hashes, in_brine, nested, references, value
from hypothesis import HealthCheck, Phase, given, settings, target
from hypothesis import strategies as st
from rpyc.core import consts

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.limits import MAX_REQUEST_BYTES
from cidx_ref.testing.promises.gates import RecordAim
from cidx_ref.testing.promises.report import RecordTried

EXAMPLES = 1500
#: Of processor time for one message, as large as may be.
LIMIT_S = 1.0
#: How much of the largest message the large thing in it takes, in bytes.
SIZE = MAX_REQUEST_BYTES - 100_000

_TUPLE = consts.LABEL_TUPLE


def many(item: Any) -> Raw:
    """A tuple of as many as there is room for."""
    repeated = in_brine(item)
    count = SIZE // len(repeated)
    return Raw(b"\x15" + count.to_bytes(4, "big") + repeated * count)


def string(text: str) -> Raw:
    data = (text * (SIZE // len(text.encode()))).encode()
    return Raw(b"\x08\x0f" + len(data).to_bytes(4, "big") + data)


@cache
def numbers(count: int) -> Raw:
    return in_brine(equal_hashes(count))


@cache
def pairs(count: int) -> Raw:
    return in_brine(tuple((number, number) for number in equal_hashes(count)))


@cache
def keywords(count: int) -> Raw:
    return in_brine(tuple((str(number), number) for number in range(count)))


@cache
def boxed_references(count: int, name: str = "builtins.list") -> Raw:
    return in_brine((_TUPLE, references(count, name)))


@cache
def boxed_numbers(count: int) -> Raw:
    return in_brine((_TUPLE, tuple(map(value, equal_hashes(count)))))


def number(digits: int) -> Raw:
    return Raw(b"\x17" + digits.to_bytes(4, "big") + b"9" * digits)


SMALL = st.sampled_from(
    [None, 0, 1.5, "x", b"x", (), "", True, Raw(b"\x06"), Raw(b"\x1b" + b"\0" * 16)]
)
COUNTS = st.sampled_from([100, 3_000, 9_900, 80_000])
#: Something large, of each kind there is.
LARGE = st.one_of(
    COUNTS.map(numbers),
    COUNTS.map(numbers).map(lambda items: Raw(b"\x1a" + items)),
    SMALL.map(many),
    SMALL.map(many).map(lambda items: Raw(b"\x1a" + items)),
    st.sampled_from(["a", "a.", "é", "\x00", "漢", "\\", "/../"]).map(string),
    st.integers(1, SIZE).map(number),
    st.integers(1, 1000).map(number).map(many),
    COUNTS.map(pairs),
    COUNTS.map(keywords),
    st.builds(nested, st.integers(1, 60), COUNTS.map(numbers)),
    st.tuples(st.sampled_from([b"\x10", b"\x1a\x10", b"\x08", b"\x11\x51", b"\x14\xff"]),
              st.integers(1, 500_000)).map(lambda found: Raw(found[0] * found[1])),
)  # fmt: skip
#: The same, as arguments with their labels.
BOXED = st.one_of(
    LARGE.map(value),
    LARGE.map(lambda large: (_TUPLE, (value(large), references(1)[0]))),
    COUNTS.map(boxed_references),
    COUNTS.map(lambda count: boxed_references(count, "a.b")),
    COUNTS.map(boxed_numbers),
    LARGE.map(lambda large: (consts.LABEL_REMOTE_REF, (large, 1, 2))),
    LARGE.map(lambda large: (consts.LABEL_LOCAL_REF, large)),
    LARGE.map(lambda large: (consts.LABEL_LOCAL_REF, (large, large, 2))),
    LARGE.map(lambda large: (large, 1)),
)
HANDLERS = st.one_of(st.integers(1, 20).map(in_brine), LARGE)
#: What the other arguments are: names of things that there are, the service, an answer of its.
OTHERS = st.sampled_from(
    ["root", "answer", "get", "query_fts", "__eq__", "__contains__", "call", "ping", (), 1]
)


@pytest.mark.promise("RPC-6")
def test_the_dearest_message(tmp_path: Path, aim: RecordAim, tried: RecordTried) -> None:
    service = CIDXDaemonService(tmp_path)
    took: list[float] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate, Phase.target],
        suppress_health_check=list(HealthCheck),
    )
    @given(HANDLERS, st.lists(OTHERS, max_size=3), BOXED, st.integers(0, 3), BOXED | st.none())
    def search(handler: Any, others: list[Any], boxed: Any, place: int, answer: Any) -> None:
        with closing(Scripted(service)) as scripted:
            root = scripted.root()
            known = {"root": root, "answer": scripted.given(consts.HANDLE_CALLATTR, root,
                     value("ping"), value(()), value(()))}  # fmt: skip
            args = [known.get(other) or value(other) for other in others]
            args.insert(place, boxed)
            content = handler, (_TUPLE, tuple(args))
            message = bytes([consts.MSG_REQUEST]) + in_brine((1, content))
            if len(message) > MAX_REQUEST_BYTES:
                return
            if answer is not None:
                scripted.answer = lambda handler, boxed: answer
            scripted.hand(message)
            took.append(scripted.took_s)
            target(scripted.took_s)
            assert scripted.took_s < LIMIT_S

    search()
    tried("RPC-6", len(took), "messages")
    aim("processor time of the dearest message", max(took) * 1000, LIMIT_S * 1000, "ms")
