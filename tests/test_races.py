"""Start races with real processes, and that the races find claims that are broken.

As often as the promise says in the `deep` environment of tox, and less often without it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.interpreter import python_command
from cidx_ref.testing.conformance import races

pytestmark = pytest.mark.once

DEEP = pytest.mark.deep
TIMEOUT_S = 120

Race = Callable[..., dict[str, Any]]


@pytest.fixture
def race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Race:
    """`race("churn", seconds=3)`: what a race on a project of its own found."""
    # Where the broken claims are; an interpreter of ours does not look beside the program.
    path = filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))

    def run(name: str, **options: object) -> dict[str, Any]:
        project = tmp_path / "project"
        project.mkdir(exist_ok=True)
        options = {
            "claim": "cidx_ref.daemon.server:Claim",
            "place": "cidx_ref.project:Project.at",
            **options,
        }
        given = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        command, environment = python_command(
            "cidx_ref.testing.conformance.races", name, *given, str(project)
        )
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == 0, done.stderr
        left = sorted(entry.name for entry in project.rglob("*"))
        return {**json.loads(done.stdout), "left": left, "said": done.stderr}

    return run


def verdict(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("double", "deaf", "none", "failed", "said")}


GOOD = {"double": 0, "deaf": 0, "none": 0, "failed": 0, "said": ""}


@pytest.mark.promise("SRV-2")
@pytest.mark.parametrize("rounds", [50, pytest.param(200, marks=DEEP)])
@pytest.mark.parametrize("path", ["free", "stale", "live"])
def test_of_eight_starters_at_the_same_moment_exactly_one_owns_the_path_and_is_reached(
    race: Race, path: str, rounds: int, figure: Callable[..., None]
) -> None:
    found = race("start", path=path, rounds=rounds, processes=8)
    assert verdict(found) == GOOD
    assert found["rounds"] == rounds
    # The last owner of a stale path was killed, too.
    assert [name for name in found["left"] if "sock" in name] == ["daemon.sock"] * (path == "stale")
    figure("SRV-2", f"rounds of 8 starters on a {path} path, each with one owner", found["rounds"])


@pytest.mark.promise("SRV-2", "SRV-3", "SRV-4")
@pytest.mark.parametrize("seconds", [3, pytest.param(30, marks=DEEP)])
def test_owners_that_come_and_go_orderly_or_killed_are_never_two_and_never_deaf(
    race: Race, seconds: int, figure: Callable[..., None]
) -> None:
    found = race("churn", seconds=seconds, processes=8)
    assert verdict(found) == GOOD
    assert found["rounds"] >= 10 * seconds
    assert 0 < found["killed"] < found["rounds"]
    assert set(found["left"]) <= {".code-indexer", ".gitignore", "daemon.lock", "daemon.sock"}
    figure("SRV-2", "owners in a churn of 8 processes, none double or deaf", found["rounds"])
    figure("SRV-2", "of these killed", found["killed"])


START = {"rounds": 20, "processes": 8}


@pytest.mark.promise("SRV-2")
@pytest.mark.parametrize(
    ("claim", "name", "options", "count"),
    [
        ("ProbeUnlinkBind", "start", {"path": "free", **START}, "double"),
        ("ProbeUnlinkBind", "start", {"path": "stale", **START}, "double"),
        ("ProbeUnlinkBind", "churn", {"seconds": 1}, "deaf"),
        ("UnlinksAfterTheLock", "churn", {"seconds": 2}, "deaf"),
        ("ForgetsTheLock", "start", {"path": "live", **START}, "double"),
        ("ForgetsTheLock", "churn", {"seconds": 1}, "double"),
        ("IsDeaf", "start", {"path": "free", "rounds": 1, "patience": 1}, "deaf"),
        ("IsDeaf", "churn", {"seconds": 1}, "deaf"),
        ("RefusesStale", "start", {"path": "stale", **START}, "none"),
        pytest.param("RefusesStale", "churn", {"seconds": 6}, "none", marks=DEEP),
        ("Raises", "start", {"path": "live", **START}, "failed"),
    ],
)
def test_the_races_find_a_claim_that_is_broken(
    race: Race, claim: str, name: str, options: dict[str, object], count: str
) -> None:
    # What is found by chance is looked for again, so that bad luck does not look like a good claim.
    found = (race(name, claim=f"broken_claims:{claim}", **options) for _ in range(5))
    assert any(one[count] for one in found)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--claim", "nope:X"), "--claim nope:X: there is no module nope"),
        (("--claim", "json.nope:X"), "--claim json.nope:X: there is no module json.nope"),
        (("--claim", "json:X"), "--claim json:X: module 'json' has no attribute 'X'"),
        (("--claim", "json"), "--claim json: must be MODULE:CLASS"),
        (("--claim", ":X"), "--claim :X: must be MODULE:CLASS"),
        (("--claim", "json:__name__"), "--claim json:__name__: __name__ is not a class or a func"),
        (("--claim", "json:dumps", "--rounds", "0"), "argument --rounds: '0' is no number from 1"),
        (("--claim", "json:dumps", "/nowhere"), "/nowhere: no such directory"),
        (("--claim", "typing_:X"), "--claim typing_:X: typing_ cannot be imported: SyntaxError: "),
    ],
)
def test_what_cannot_be_raced_is_said_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    (tmp_path / "typing_.py").write_text("def")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as ended:
        races.main(["start", *arguments, *[str(tmp_path)] * ("/nowhere" not in arguments)])
    assert ended.value.code == 2
    assert f"error: {said}" in capsys.readouterr().err.splitlines()[-1]
