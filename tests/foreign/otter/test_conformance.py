"""The same from a test of one's own: the promises that are known to be kept stay so."""

from conformance import TARGET

from cidx_ref.testing import Verdict, verify

KEPT = {"SRV-1", "QRY-5", "RPC-2"}


def test_what_was_kept_is_kept() -> None:
    found = verify(TARGET, promises=KEPT)
    assert {finding.promise for finding in found} == KEPT
    assert all(finding.verdict is Verdict.KEPT for finding in found)
