"""A project of two files, in an empty directory, with the kit from its wheel and nothing else of
this package: as somebody has it who judges a daemon of their own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cidx_ref.testing import Cap
from cidx_ref.testing.conformance.running import all_checks

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
OTTER = ROOT / "tests/foreign/otter"
#: Quick ones, of which the second is broken.
PROMISES = ("RPC-2", "RPC-3")


class Downstream:
    def __init__(self, directory: Path, venv: Path) -> None:
        self.directory = directory
        self.venv = venv

    def run(self, program: str, *arguments: str, status: Sequence[int] = (0,)) -> str:
        """Its output.  The environment has no compiler, and nothing of the checkout."""
        env = {"PATH": f"{self.venv}/bin", "HOME": str(self.directory), "CC": "false"}
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
            if name in os.environ:
                env[name] = os.environ[name]
        done = subprocess.run(
            [self.venv / "bin" / program, *arguments],
            cwd=self.directory,
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode in status, done.stdout + done.stderr
        return done.stdout


def made(base: Path) -> Downstream:
    """The kit's wheel, built from the checkout, in a fresh environment; and the files."""
    subprocess.run([sys.executable, "-m", "venv", base / "venv"], check=True)
    project = Downstream(base / "project", base / "venv")
    project.directory.mkdir()
    # A copy: a build leaves nothing in the checkout.
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "cidx_ref", base / "source/cidx_ref", ignore=ignored)
    wheels = base / "wheels"
    source = str(base / "source/cidx_ref/testing")
    project.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), source)
    project.run("pip", "install", "--quiet", "--no-compile", *map(str, wheels.iterdir()))
    for name in ("otterd.py", "conformance.py", "test_conformance.py"):
        shutil.copy(OTTER / name, project.directory)
    return project


# One test, because what it begins with takes as long as all the rest.
@pytest.mark.deep
def test_two_files_and_the_wheel_are_enough(tmp_path: Path) -> None:
    downstream = made(tmp_path)
    the_kit_comes_without_engines(downstream)
    one_command_tells_what_is_broken_on_a_page(downstream)
    a_browser_shows_the_page(downstream.directory / "report.html")
    pytest_has_a_test_for_each_promise(downstream)
    pytest_runs_the_file_that_asks_by_itself(downstream)


@pytest.mark.deep
def test_what_the_page_shows_can_be_done(tmp_path: Path) -> None:
    downstream = made(tmp_path)
    shutil.copy(ROOT / "tests/foreign/kept/larder.py", downstream.directory)
    for name, first in BLOCKS.items():
        (downstream.directory / name).write_text(block(first))

    def verified(target: str, *options: str) -> str:
        return downstream.run("cidx-verify", f"conformance:{target}", *options)

    said = verified("TARGET", "--excuses", "excuses.toml", "--only", "reach")
    assert "RPC-3  excused" in said
    with (downstream.directory / "conformance.py").open("a") as file:
        file.write("\n" + (downstream.directory / "check.py").read_text())
        file.write("from dataclasses import replace\n")
        file.write("MINE = replace(TARGET, checks=[raft_is_named])\n")
    said = verified("MINE", "--promises", "promises.toml", "--only", "raft-is-named")
    assert "OTTER-1  kept" in said
    assert "1 of 1 killed" in verified("TARGET", "--mutants", "mutants")
    assert "CACHE-1 broken" in downstream.run("python", "part.py")


#: Files, each with the line that its part of the page begins with.
BLOCKS = {
    "excuses.toml": "[[excuse]]",
    "promises.toml": "# promises.toml",
    "check.py": "# conformance.py\nfrom cidx_ref.testing import Bench",
    "mutants.py": "# mutants.py",
    "part.py": "import larder",
}


def block(first: str) -> str:
    page = (ROOT / "docs/aim-it-at-your-daemon.md").read_text()
    found: str = page.split(f"```python\n{first}")[-1] if first in page else ""
    if f"```toml\n{first}" in page:
        found = page.split(f"```toml\n{first}")[1]
    return first + found.split("\n```")[0] + "\n"


def test_the_page_names_every_check_and_capability() -> None:
    page = (ROOT / "docs/aim-it-at-your-daemon.md").read_text()
    parts = {"cache", "claim", "lock"}
    missing = [check.name for check in all_checks() if f"`{check.name}`" not in page]
    assert set(missing) <= parts
    assert [cap.name for cap in Cap if f"`{cap.name}`" not in page] == []


def the_kit_comes_without_engines(downstream: Downstream) -> None:
    names = downstream.run("pip", "list", "--format=freeze").lower()
    assert "cidx-ref-testing" in names
    for absent in ("cidx-ref==", "numpy", "hnswlib", "tantivy", "google-re2"):
        assert absent not in names


def one_command_tells_what_is_broken_on_a_page(downstream: Downstream) -> None:
    options = [option for promise in PROMISES for option in ("--promise", promise)]
    said = downstream.run(
        "cidx-verify", "conformance:TARGET", *options, "--html", "report.html", status=[3]
    )
    assert all(promise in said for promise in PROMISES)
    page = (downstream.directory / "report.html").read_text()
    assert all(promise in page for promise in PROMISES)
    # It needs nothing else.
    assert "<script src" not in page
    assert "<link" not in page


def a_browser_shows_the_page(page: Path) -> None:
    spec = importlib.util.spec_from_file_location("picture", ROOT / "docs/picture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.browser() is not None:
        assert "RPC-3" in module.browse(page, "--dump-dom")
        module.picture(page, page.with_suffix(".png"))
        assert page.with_suffix(".png").stat().st_size > 10_000


def pytest_has_a_test_for_each_promise(downstream: Downstream) -> None:
    chosen = " or ".join(PROMISES)
    said = downstream.run(
        "pytest", "-q", "--cidx-target=conformance:TARGET", "-k", chosen, status=[1]
    )
    assert "1 failed, 1 passed" in said


def pytest_runs_the_file_that_asks_by_itself(downstream: Downstream) -> None:
    assert "passed" in downstream.run("pytest", "-q", "test_conformance.py")
    assert "--cidx-target" in downstream.run("pytest", "--help")
