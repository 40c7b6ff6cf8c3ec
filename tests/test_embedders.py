"""Which embedder there is: by the environment, and by nothing in a tree."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cidx_ref.errors import ConfigError
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.embedders import GROUP, IN_THE_BOX, VARIABLE, collection_of, configured

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no.such.module:Thing", "ModuleNotFoundError: no module no"),
        ("cidx_ref.index.embed:Nothing", "AttributeError: nothing there is called Nothing"),
        ("cidx_ref.index.embed", "no such embedder: must be one of default, http, sentence, stat"),
        ("statik", "no such embedder: must be one of default, http, sentence, static"),
        (":", "must be package.module:callable"),
        ("builtins:dict", "has no 'id'"),
        ("sys:exit", "it cannot be made (SystemExit)"),
        ("cidx_ref.errors:CidxError", "has no 'id'"),
    ],
)
def test_an_embedder_that_cannot_be_had_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    monkeypatch.setenv(VARIABLE, name)
    with pytest.raises(ConfigError) as refused:
        configured()
    assert str(refused.value).startswith(f"{VARIABLE}: {name!r}: ")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "default", "cidx_ref.index.embed:HashingEmbedder"])
def test_the_environment_chooses_the_embedder(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert configured().id == "lexical-hashing-512-v3"
    monkeypatch.setenv(VARIABLE, name)
    assert (configured().id, configured().dim) == ("lexical-hashing-512-v3", 512)


def install(site: Path, distribution: str, lines: str) -> None:
    """What an installer leaves of a distribution with these entry points."""
    found = site / f"{distribution}-1.0.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (found / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}\n")


PLUGIN = """
from cidx_ref.index.embed import HashingEmbedder

class Mine(HashingEmbedder):
    def __init__(self):
        super().__init__()
        self.id = "mine"
        self.collection = "mine_1"

def broken():
    raise RuntimeError("/home/me/models with sk-secret")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with the module `plugged`, from which can be imported."""
    found = tmp_path / "site"
    found.mkdir()
    (found / "plugged.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(found)
    monkeypatch.delitem(sys.modules, "plugged", raising=False)
    return found


def test_an_installed_distribution_offers_an_embedder_by_name(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "plugged", "mine = plugged:Mine")
    monkeypatch.setenv(VARIABLE, "mine")
    assert (configured().id, collection_of(configured())) == ("mine", "mine_1")
    assert collection_of(HashingEmbedder()) == ""
    monkeypatch.setenv(VARIABLE, "min")
    with pytest.raises(ConfigError, match="default, http, mine, sentence, static"):
        configured()


def test_nobody_takes_a_name_of_the_box_and_of_two_with_one_name_neither_is_taken(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "plugged", "default = plugged:Mine\nmine = plugged:Mine")
    monkeypatch.setenv(VARIABLE, "default")
    assert configured().id == "lexical-hashing-512-v3"
    install(site, "another", "mine = plugged:broken")
    monkeypatch.setenv(VARIABLE, "mine")
    with pytest.raises(ConfigError, match="more than one is installed: plugged:Mine, plugged:brok"):
        configured()


@pytest.mark.promise("TRUST-1")
def test_what_an_embedder_says_when_it_cannot_be_made_is_not_passed_on(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "plugged:broken")
    with pytest.raises(ConfigError) as refused:
        configured()
    assert str(refused.value).endswith("it cannot be made (RuntimeError)")


@pytest.mark.once
@pytest.mark.promise("TRUST-1")
def test_a_tree_that_looks_like_an_installation_chooses_no_embedder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    install(tree, "plugged", "mine = plugged:Mine\ndefault = plugged:Mine")
    (tree / "plugged.py").write_text("raise SystemExit('this ran')\n")
    (tree / ".code-indexer").mkdir()
    (tree / ".code-indexer" / "config.json").write_text(
        '{"daemon": {"enabled": false}, "embedder": "mine", "CIDX_REF_EMBEDDER": "plugged:Mine",'
        ' "embedding_provider": "mine"}'
    )
    command = [sys.executable, "-P", "-m", "cidx_ref", "index", "--project", str(tree)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert (done.returncode, "this ran" in done.stderr) == (0, False), done.stderr
    monkeypatch.setenv(VARIABLE, "mine")
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert (done.returncode, "no such embedder" in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.once
def test_the_group_that_is_installed_with_this_package_is_what_it_knows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"][GROUP] == IN_THE_BOX


@pytest.mark.once
def test_what_is_installed_is_looked_through_for_a_name_that_is_not_known_and_else_not() -> None:
    program = (
        "import os, sys; from cidx_ref.index.embedders import configured\n"
        "for name in ('', 'default', 'cidx_ref.index.embed:HashingEmbedder'):\n"
        "    os.environ['CIDX_REF_EMBEDDER'] = name; configured()\n"
        "print('importlib.metadata' in sys.modules, 'numpy' in sys.modules, 'ssl' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False", "False"]
