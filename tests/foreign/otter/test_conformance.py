"""The same from a test of one's own: the promises that are known to be kept stay so."""

from conformance import TARGET

from cidx_ref.testing import Verdict, by_promise, verify

KEPT = {"SRV-1", "QRY-5", "RPC-2"}


def test_what_was_kept_is_kept() -> None:
    found = by_promise(verify(TARGET, promises=KEPT))
    assert {promise: first.verdict for promise, (first, *_) in found.items()} == dict.fromkeys(
        KEPT, Verdict.KEPT
    )
