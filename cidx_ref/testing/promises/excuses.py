"""Excuses: broken promises that a project knows of, with the reason, in a file of its own.

    [[excuse]]
    id = "SRV-3"
    reason = "waits for systemd to restart it"
    expires = 2027-01-31        # optional

An excuse turns "broken" into "excused".  One that has nothing to excuse is an error, so that the
file does not keep what is long mended; and so is one that has expired, or names no promise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from cidx_ref.testing.promises.findings import Finding, Verdict, by_promise
from cidx_ref.testing.promises.reading import read_toml

__all__ = ["Excuse", "ExcuseError", "check_excuses", "excused", "read_excuses", "without_use"]


class ExcuseError(ValueError):
    """An excuse that does not hold; the message names it."""


@dataclass(frozen=True)
class Excuse:
    """Why a promise may be broken, and until when."""

    id: str
    reason: str
    #: The last day on which it holds.
    expires: date | None = None


def read_excuses(path: Path) -> list[Excuse]:
    """The excuses of a file.  Raises `ExcuseError`, which names file and entry."""
    try:
        document = read_toml(path)
    except ValueError as error:
        raise ExcuseError(f"{path}: {error}") from None
    entries = document.pop("excuse", [])
    if document or not isinstance(entries, list):
        raise ExcuseError(f"{path}: only [[excuse]] belongs here, with id, reason and expires")
    read = [_excuse(path, number, entry) for number, entry in enumerate(entries, start=1)]
    for excuse in read:
        if [other.id for other in read].count(excuse.id) > 1:
            raise ExcuseError(f"{path}: {excuse.id} is excused twice")
    return read


def _excuse(path: Path, number: int, entry: Any) -> Excuse:
    where = f"{path}: excuse {number}"
    if not isinstance(entry, dict) or entry.keys() - {"id", "reason", "expires"}:
        raise ExcuseError(f"{where}: it has id, reason and expires, and nothing else")
    for key in ("id", "reason"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise ExcuseError(f"{where}: {key} is missing, or no text")
    expires = entry.get("expires")
    if isinstance(expires, str):
        try:
            expires = date.fromisoformat(expires)
        except ValueError:
            raise ExcuseError(f"{where}: expires: {expires!r} is no date") from None
    if isinstance(expires, datetime):
        expires = expires.date()
    if expires is not None and not isinstance(expires, date):
        raise ExcuseError(f"{where}: expires: {expires!r} is no date")
    return Excuse(entry["id"], " ".join(entry["reason"].split()), expires)


def check_excuses(excuses: Iterable[Excuse], known: Collection[str], today: date) -> None:
    """Raise `ExcuseError` for one that has expired, or that names no promise that is `known`."""
    for excuse in excuses:
        if excuse.id not in known:
            raise ExcuseError(f"the excuse of {excuse.id}: there is no such promise")
        if excuse.expires is not None and excuse.expires < today:
            raise ExcuseError(
                f"the excuse of {excuse.id} has expired on {excuse.expires} ({excuse.reason})"
            )


def excused(findings: Iterable[Finding], excuses: Iterable[Excuse]) -> list[Finding]:
    """The findings, those that are broken and have an excuse as excused."""
    reasons = {excuse.id: excuse.reason for excuse in excuses}
    return [
        finding.excused(reasons[finding.promise])
        if finding.verdict is Verdict.BROKEN and finding.promise in reasons
        else finding
        for finding in findings
    ]


def without_use(
    excuses: Iterable[Excuse], findings: Sequence[Finding], left_out: Collection[str] = ()
) -> list[str]:
    """Of each excuse that had nothing to excuse: a sentence.  Of a promise that was not tried, that
    is not known.

    `left_out` are promises that were not to be judged; their excuses may be needed another time.
    """
    grouped = by_promise(findings)
    said = []
    for excuse in excuses:
        found = grouped.get(excuse.id)
        if found is None and excuse.id not in left_out:
            said.append(f"the excuse of {excuse.id} is stale: no check is about the promise")
        elif found and found[0].verdict in (Verdict.KEPT, Verdict.NOT_OFFERED):
            said.append(f"the excuse of {excuse.id} is stale: the promise is {found[0].verdict}")
    return said
