"""The named places where threads and processes meet: one list, and each of them is reached."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cidx_ref
from cidx_ref.client import DaemonClient
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.claim import Claim
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.steps import Step
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, served

PACKAGE = Path(cidx_ref.__file__).parent


def passed() -> set[tuple[str, int]]:
    """The argument of each call of `step` in the package, and its line; not those of the harness,
    which has places of its own, and passes others on."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in ("testing", "runtime.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "step"
            ):
                found.add((ast.unparse(node.args[0]), node.lineno))
    return found


def test_every_place_is_a_member_of_the_list_and_every_member_a_place() -> None:
    assert {name for name, _ in passed()} == {f"Step.{step.name}" for step in Step}


def test_each_says_in_a_sentence_what_is_true_there() -> None:
    for step in Step:
        assert step.sentence.endswith(".")
        assert step.sentence[0].isupper()
    assert len({step.sentence for step in Step}) == len({step.value for step in Step}) == len(Step)


@pytest.mark.promise("WRITE-3", "SRV-2")
def test_each_of_them_is_reached(make_project: MakeProject) -> None:
    fresh = make_project()
    runtime = FakeRuntime()
    reached = runtime.steps
    for text in ("one", "two"):  # the second time there is an old generation to remove
        (fresh.root / "more.py").write_text(f"{text} = 1\n")
        bring_up_to_date(fresh, HashingEmbedder(), runtime=runtime)
    claim = Claim(fresh, runtime)
    assert claim.acquire()
    claim.listen().close()
    claim.release()
    with served(fresh, runtime=runtime), DaemonClient(fresh, start=False) as client:
        client.index()
        client.query("one")
    _join_a_load(fresh, runtime)
    assert set(Step) - set(reached) == set()


def _join_a_load(project: Project, runtime: FakeRuntime) -> None:
    """Two queries at once, of which one joins the load of the other."""
    joined = SYSTEM.event("joined")

    class Slow:
        def current(self) -> str:
            return "g1"

        def load(self, generation: str) -> object:
            assert joined.wait(30)
            return type("Loaded", (), {"generation": "g1", "close": lambda self: None})()

    cache: IndexCache[object] = IndexCache(project.root, Slow(), runtime=runtime)  # type: ignore[type-var]

    def query() -> None:
        with cache.pin():
            pass

    runtime.at(Step.JOINED, joined.set)
    threads = [SYSTEM.thread(query, f"query {number}") for number in range(2)]
    for thread in threads:
        thread.join(30)
    cache.clear()


def test_generations_pass_theirs_in_this_process_only(project: Project) -> None:
    """What a daemon's build passes is its child's: a fake runtime sees none of it."""
    runtime = FakeRuntime()
    with served(project, runtime=runtime), DaemonClient(project, start=False) as client:
        (project.root / "more.py").write_text("more = 1\n")
        client.index()
    assert Step.SEALED not in runtime.steps
    assert Generations(project.generations).current().startswith("000002")
