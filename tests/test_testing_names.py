"""The public face of `cidx_ref.testing`: an editor, `dir` and an import see the same names."""

from __future__ import annotations

import ast
import json
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from cidx_ref import testing
from cidx_ref.interpreter import python_command

pytestmark = pytest.mark.once

#: What a test must not pay for that wants a clock.
HEAVY = {"numpy", "hypothesis", "rpyc", "hnswlib", "tantivy", "locust", "gevent", "pytest"}

#: The only name that is data, and so does not say where it is from.
DATA = {"PROMISES": "cidx_ref.testing.promises.registry"}


def seen_by_a_type_checker() -> dict[str, str]:
    """The names in the `if TYPE_CHECKING:` block, and the module that each is imported from."""
    tree = ast.parse(Path(testing.__file__).read_text("utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    found: dict[str, str] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module
        if node.module == "typing":  # which is not imported for its annotation alone
            continue
        for alias in node.names:
            # Without `as`, type checkers take an import in a package for the package's own use.
            assert alias.asname == alias.name
            found[alias.name] = node.module
    return found


def test_a_type_checker_sees_the_names_that_there_are_and_no_others() -> None:
    assert sorted(testing.__all__) == sorted(seen_by_a_type_checker())
    assert len(set(testing.__all__)) == len(testing.__all__)


@pytest.mark.parametrize("name", testing.__all__)
def test_a_name_is_what_its_module_has_and_of_the_harness(name: str) -> None:
    value = getattr(testing, name)
    home = seen_by_a_type_checker()[name]
    assert value is getattr(import_module(home), name)
    assert name in import_module(home).__all__
    assert DATA.get(name) or value.__module__ == home
    assert home.startswith("cidx_ref.testing.")
    assert ".own." not in home, "what knows our own daemon is no API"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"cidx_ref\.testing.*no attribute 'Nope'"):
        _ = testing.Nope


MEASURED = """
import json, sys, time
import importlib, typing
import cidx_ref
before, began = set(sys.modules), time.process_time()
import cidx_ref.testing
took_ms = (time.process_time() - began) * 1000
shown = dir(cidx_ref.testing)
print(json.dumps([shown, sorted(set(sys.modules) - before), sorted(sys.modules), took_ms]))
"""


def test_importing_the_face_shows_every_name_and_imports_nothing_else() -> None:
    command, environment = python_command("json.tool")
    said = subprocess.check_output([*command[:2], "-c", MEASURED], env=environment, text=True)
    shown, new, loaded, took_ms = json.loads(said)
    assert set(testing.__all__) <= set(shown)
    assert new == ["cidx_ref.testing"]
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert took_ms < 20.0
