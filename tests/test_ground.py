"""The kit stands on the package where there is one, and on the copies of its wheel where not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cidx_ref import interpreter, runtime, sockets, testing
from cidx_ref._version import __version__
from cidx_ref.testing import ground

pytestmark = pytest.mark.once

KIT = Path(__file__).parents[1] / "cidx_ref" / "testing"


def test_where_the_package_is_installed_the_ground_is_its_own() -> None:
    assert (ground.SYSTEM, ground.Runtime) == (runtime.SYSTEM, runtime.Runtime)
    assert (ground.connect, ground.peer_pid) == (sockets.connect, sockets.peer_pid)
    assert ground.python_command is interpreter.python_command


def kit_alone(root: Path) -> None:
    """Lay out in `root` what the kit's wheel would install there, and nothing besides."""
    package = Path(testing.__file__).parent
    shutil.copytree(
        package, root / "cidx_ref/testing", ignore=shutil.ignore_patterns("__pycache__", "own")
    )
    wheel = tomllib.loads((KIT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    for source, place in wheel["targets"]["wheel"]["force-include"].items():
        target = root / "cidx_ref/testing" / place
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(package / source, target)


ALONE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from cidx_ref.testing import FakeRuntime, ground
assert isinstance(FakeRuntime(), ground.Runtime)
command, _ = ground.python_command("json")
names = [getattr(getattr(ground, name), "__module__", name) for name in ground.__all__]
print(json.dumps([ground.__version__, sorted(m for m in sys.modules if "cidx_ref" in m), names]))
"""


def test_where_the_kit_is_alone_the_ground_is_what_its_wheel_carries(tmp_path: Path) -> None:
    kit_alone(tmp_path)
    # Without site-packages: neither the package is there nor any library.
    command = [sys.executable, "-I", "-S", "-B", "-c", ALONE, str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    version, modules, _ = json.loads(said.stdout)
    assert version == __version__
    assert "cidx_ref.runtime" not in modules
    assert {"cidx_ref.testing._ground.runtime", "cidx_ref.testing._ground.sockets"} <= set(modules)


NAMES = """
import json, sys, types
# The package's name, with nothing in it but the kit.
package = types.ModuleType("cidx_ref")
package.__path__ = [sys.argv[1] + "/cidx_ref"]
sys.modules["cidx_ref"] = package
from cidx_ref import testing
for name in testing.__all__:
    getattr(testing, name)
from cidx_ref.testing.conformance.running import all_checks
print(json.dumps([len(all_checks()), testing.__file__, sorted(sys.modules)]))
"""


def test_all_of_the_public_names_and_checks_are_there_where_the_kit_is_alone(
    tmp_path: Path,
) -> None:
    kit_alone(tmp_path)
    command, environment = interpreter.python_command("json.tool")
    command = [*command[:2], "-B", "-c", NAMES, str(tmp_path)]
    said = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert said.returncode == 0, said.stderr
    checks, face, modules = json.loads(said.stdout)
    assert checks > 40
    assert face.startswith(str(tmp_path))
    ours = {name for name in modules if name.startswith("cidx_ref.")}
    assert {name for name in ours if not name.startswith("cidx_ref.testing")} == set()
    assert not {"numpy", "hnswlib", "tantivy", "re2", "locust"} & set(modules)


def test_the_kit_has_the_version_of_the_package_and_names_what_it_requires() -> None:
    project = tomllib.loads((KIT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == __version__
    requires = {name.split(">")[0] for name in project["dependencies"]}
    assert requires == {"hypothesis", "pytest", "rpyc"}
