"""The checks of any daemon find what is wrong with one, and blame none that is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import kit_targets
import pytest

from cidx_ref.testing.conformance.bench import judged
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.daemons import (
    CHECKS,
    connections,
    idling,
    serving,
    sought,
    stopping,
)
from cidx_ref.testing.conformance.peer import RpycPeer
from cidx_ref.testing.conformance.target import Cap, Faults, Spawn, Target
from cidx_ref.testing.promises.findings import Finding, Verdict

pytestmark = pytest.mark.once

#: Beside the first.
STYLES = ("netref", "objects", "value")
BY_NAME = {check.name: check for check in CHECKS}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """These daemons look at things twenty times a second."""
    monkeypatch.setattr(serving, "_UNASKED_S", 3.0)
    monkeypatch.setattr(idling, "_UNASKED_S", 3.0)
    monkeypatch.setattr(stopping, "_LEAVE_S", 3.0)
    monkeypatch.setattr(connections, "_PATIENCE_S", 3.0)
    monkeypatch.setattr(connections, "_SETTLED_S", 5.0)
    monkeypatch.setattr(sought, "_BESIDE_S", 1.0)
    monkeypatch.setattr(stopping, "_LATE_S", 1.0)


def found_by(check: Check, target: Target) -> list[Finding]:
    assert target.offers(*check.needs), check.needs
    return judged(check, target)


#: Those that hold a query, or have it fail, where a daemon can be made to.
_GATED = ("stop-in-flight", "slow-query", "idle-while-asked", "unforeseen-errors")
#: Of each defect: the check that finds it, the promise that it breaks, and how the daemon is.
DEFECTS: list[tuple[str, str, str, Mapping[str, Any]]] = [
    ("one_query_at_a_time", "many-clients", "SRV-1", {"gates": True}),
    ("one_client_at_a_time", "many-clients", "SRV-1", {}),
    ("mixes_answers_up", "many-clients", "SRV-1", {}),
    ("does_not_look_at_its_socket", "socket-gone", "SRV-5", {}),
    ("never_idle", "idle-shutdown", "TTL-5", {}),
    ("idle_when_not_told", "idle-shutdown", "TTL-5", {}),
    ("leaves_while_asked", "idle-while-indexing", "TTL-5", {}),
    ("leaves_while_asked", "idle-while-asked", "TTL-5", {"slow": 20.0}),
    ("lines_from_zero", "semantic", "QRY-1", {}),
    ("lines_beyond_the_end", "semantic", "QRY-1", {}),
    ("text_of_another_line", "full-text", "QRY-2", {}),
    ("gives_one_more", "semantic", "QRY-1", {}),
    ("gives_each_twice", "full-text", "QRY-2", {}),
    ("worst_first", "hybrid", "QRY-3", {}),
    ("chokes_on_brackets", "any-text", "QRY-4", {}),
    ("chokes_on_nothing", "any-text", "QRY-4", {}),
    ("finds_nothing_for_its_dots", "punctuation", "QRY-4", {}),
    ("takes_any_argument", "bad-arguments", "QRY-5", {}),
    ("names_no_argument", "bad-arguments", "QRY-5", {}),
    ("takes_any_limit", "bad-arguments", "QRY-5", {}),
    ("errors_are_all_the_same", "errors", "RPC-2", {}),
    ("tells_its_traceback", "errors", "RPC-2", {}),
    ("everything_is_public", "reach", "RPC-3", {}),
    ("even_the_private_is_public", "reach", "RPC-3", {}),
    ("can_be_changed", "reach", "RPC-3", {"style": "objects"}),
    ("gives_objects_away", "reach", "RPC-3", {"style": "objects"}),
    ("few_threads_read", "slow-clients", "RPC-4", {}),
    ("one_query_at_a_time", "slow-query", "RPC-4", {"slow": 5.0}),
    ("keeps_descriptors", "vanishing-clients", "RPC-5", {}),
    ("keeps_threads", "vanishing-clients", "RPC-5", {}),
    ("leaves_its_socket", "stop", "SRV-4", {}),
    ("ends_with_status_1", "stop", "SRV-4", {}),
    ("stays_while_it_is_asked", "stop-with-clients", "SRV-4", {}),
    ("drops_what_is_in_flight", "stop-in-flight", "SRV-4", {"slow": 3.0}),
    ("one_query_at_a_time", "slow-query", "RPC-4", {"gates": True}),
    ("leaves_while_asked", "idle-while-asked", "TTL-5", {"gates": True}),
    ("drops_what_is_in_flight", "stop-in-flight", "SRV-4", {"gates": True}),
    ("stays_while_it_is_asked", "stop-in-flight", "SRV-4", {"gates": True}),
    ("removes_any_socket", "stop-leaves-others", "SRV-4", {}),
    ("says_another_pid", "status", "OBS-1", {}),
    ("counts_no_queries", "status", "OBS-1", {}),
    ("says_when_not_how_long", "status", "OBS-1", {}),
    ("is_always_cached", "status-of-cache", "OBS-1", {}),
    ("counts_no_queries", "health", "OBS-2", {}),
    ("tires", "health", "OBS-2", {}),
    ("counts_no_queries", "metrics", "OBS-3", {}),
    ("counts_loads_twice", "metrics-of-cache", "OBS-3", {}),
    ("takes_any_configuration", "bad-configuration", "CFG-1", {}),
    ("open_to_all", "other-users", "TRUST-3", {}),
]


#: One for each check, which is tried by default: what is seen by a gate, too, is seen by it in a
#: tenth of the time.
_BY_DEFAULT = {name: defect for defect, name, _, how in reversed(DEFECTS) if "slow" not in how}


@pytest.mark.parametrize(
    ("defect", "name", "promise", "how"),
    [
        pytest.param(
            *each,
            id=f"{each[0]}-{each[1]}",
            marks=[pytest.mark.deep] * ("slow" in each[3] or _BY_DEFAULT[each[1]] != each[0]),
        )
        for each in DEFECTS
    ],
)
def test_a_check_finds_the_defect_that_it_is_for(
    defect: str, name: str, promise: str, how: Mapping[str, Any]
) -> None:
    [finding] = found_by(BY_NAME[name], kit_targets.target(defect=defect, **how))
    assert (finding.promise, finding.verdict) == (promise, Verdict.BROKEN), finding
    assert finding.words


@pytest.mark.parametrize(
    "style", ["json", *(pytest.param(s, marks=pytest.mark.deep) for s in STYLES)]
)
def test_no_check_blames_a_daemon_that_is_right(style: str) -> None:
    target = kit_targets.target(style)
    findings = [f for c in CHECKS if target.offers(*c.needs) for f in judged(c, target)]
    allowed = {Verdict.KEPT, Verdict.NOT_OFFERED, Verdict.NOT_TRIED}
    assert [f for f in findings if f.verdict not in allowed] == []
    kept = {f.promise for f in findings if f.verdict == Verdict.KEPT}
    assert kept >= {"SRV-1", "SRV-4", "SRV-5", "TTL-5", "QRY-1", "QRY-4", "RPC-3", "RPC-5"}


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("stop-in-flight", {"slow": 20.0}),
        ("many-clients", {"slow": 20.0}),
        *((name, {"gates": True}) for name in _GATED),
        pytest.param("slow-query", {"slow": 20.0}, marks=pytest.mark.deep),
        pytest.param("idle-while-asked", {"slow": 20.0}, marks=pytest.mark.deep),
    ],
)
def test_a_daemon_whose_queries_take_time_is_not_blamed_for_that(
    name: str, how: Mapping[str, Any]
) -> None:
    findings = found_by(BY_NAME[name], kit_targets.target("netref", **how))
    assert {finding.verdict for finding in findings} == {Verdict.KEPT}, findings


@pytest.mark.parametrize(
    ("defect", "promise"),
    [("tells_everything", "RPC-2"), ("counts_what_it_thought_of", "OBS-2")],
)
def test_what_nobody_has_thought_of_is_told_and_counted(defect: str, promise: str) -> None:
    target = kit_targets.target(defect=defect, gates=True)
    findings = found_by(BY_NAME["unforeseen-errors"], target)
    assert [f.promise for f in findings if f.verdict == Verdict.BROKEN] == [promise], findings


def test_a_query_that_is_not_made_to_fail_says_nothing_of_errors() -> None:
    target = kit_targets.target(gates=True)
    assert isinstance(target.start, Spawn)
    deaf = ("env", "POINT={point}", "GATE={gate}", *target.start.command)
    deaf_to_faults = replace(target, faults=Faults(fail=deaf, query="search"))
    findings = found_by(BY_NAME["unforeseen-errors"], deaf_to_faults)
    assert {f.verdict for f in findings} == {Verdict.NOT_TRIED}, findings
    assert findings[0].words.startswith("a query does not fail where it should: [")


def test_what_is_declared_by_value_and_comes_by_reference_is_found() -> None:
    target = kit_targets.target("netref", capabilities={Cap.BY_VALUE})
    [finding] = found_by(BY_NAME["by-value"], target)
    assert finding.verdict == Verdict.BROKEN
    assert "messages" in finding.words


def test_limits_that_are_declared_and_are_not_there_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RPyC as it comes has none."""
    from cidx_ref.testing.conformance.daemons import hostile

    monkeypatch.setattr(hostile, "_LOST_S", 2.0)
    target = kit_targets.target(capabilities={Cap.LIMITS})
    [finding] = found_by(BY_NAME["hostile-input"], target)
    assert finding.verdict == Verdict.BROKEN, finding


class SharedPeer(RpycPeer):
    """A client that does not mind a fork."""

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return super().call(method, *args, **kwargs)


def test_a_client_that_shares_its_connection_over_a_fork_is_found() -> None:
    from cidx_ref.testing.conformance import peer

    def connect(address: str, timeout_s: float) -> RpycPeer:
        made = SharedPeer(address, timeout_s)
        peer._peers.discard(made)
        return made

    [finding] = found_by(
        BY_NAME["fork"], kit_targets.target(connect=connect, capabilities={Cap.FORKS})
    )
    assert finding.verdict == Verdict.BROKEN, finding


def test_a_client_that_is_closed_by_a_fork_is_not_blamed() -> None:
    [finding] = found_by(
        BY_NAME["fork"], kit_targets.target(connect=SharedPeer, capabilities={Cap.FORKS})
    )
    assert finding.verdict == Verdict.KEPT, finding


@pytest.mark.parametrize("name", ["other-users", "fork"])
def test_what_nobody_promised_of_other_users_and_clients_is_not_judged(name: str) -> None:
    target = kit_targets.target(connect=SharedPeer, capabilities={Cap.BASE})
    assert not target.offers(*BY_NAME[name].needs)
