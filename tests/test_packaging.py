"""Two distributions of one repository: each file is in one of them, and the kit needs no engine."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cidx_ref._version import __version__

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
KIT = ROOT / "cidx_ref" / "testing"


def project_of(directory: Path) -> dict[str, Any]:
    return tomllib.loads((directory / "pyproject.toml").read_text("utf-8"))


def files_of(directory: Path, target: Path) -> dict[str, bytes]:
    """The files of the wheel that is built of the sources there."""
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(directory))
    (wheel,) = builder.build(directory=str(target), versions=["standard"])
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def modules(files: dict[str, bytes]) -> set[str]:
    return {name for name in files if name.endswith((".py", "/py.typed"))}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Files of the package's wheel, and of the kit's."""
    target = tmp_path_factory.mktemp("wheels")
    return files_of(ROOT, target), files_of(KIT, target)


def test_each_module_is_in_one_wheel_and_both_are_typed(
    wheels: tuple[dict[str, bytes], dict[str, bytes]],
) -> None:
    package, kit = map(modules, wheels)
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cidx_ref").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    copies = {name for name in kit if "/_ground/" in name}
    assert package | (kit - copies) == sources
    assert not package & kit
    assert all(name.startswith("cidx_ref/testing/") for name in kit)
    assert {"cidx_ref/py.typed", "cidx_ref/__init__.py"} <= package
    assert "cidx_ref/testing/py.typed" in kit


def test_the_kit_carries_what_it_stands_on_as_the_package_has_it(
    wheels: tuple[dict[str, bytes], dict[str, bytes]],
) -> None:
    package, kit = wheels
    copies = {name for name in modules(kit) if "/_ground/" in name}
    assert len(copies) == 5
    for name in copies:
        assert kit[name] == package[name.replace("testing/_ground/", "")]


def test_the_wheels_have_their_programs_and_the_plugin(
    wheels: tuple[dict[str, bytes], dict[str, bytes]],
) -> None:
    (package,), (kit,) = (
        [text.decode() for name, text in wheel.items() if name.endswith("entry_points.txt")]
        for wheel in wheels
    )
    assert "cidx-ref = cidx_ref.__main__:main" in package
    assert "pytest11" not in package
    assert "cidx-verify = cidx_ref.testing.conformance.__main__:main" in kit
    assert "[pytest11]\ncidx = cidx_ref.testing.plugin" in kit


def test_versions_and_requirements_agree() -> None:
    package, kit = project_of(ROOT), project_of(KIT)["project"]
    assert package["project"]["version"] == kit["version"] == __version__
    extras = package["project"]["optional-dependencies"]
    assert extras["testing"] == [f"cidx-ref-testing=={__version__}"]
    assert extras["load"] == [f"cidx-ref-testing[load]=={__version__}"]
    # What tox installs in the place of what no index has.
    groups = package["dependency-groups"]
    assert groups["kit"] == kit["dependencies"]
    assert groups["kit-load"] == kit["optional-dependencies"]["load"]
    assert {"include-group": "kit"} in groups["test"]
    names = " ".join(kit["dependencies"])
    assert not [engine for engine in ("numpy", "hnswlib", "tantivy", "re2") if engine in names]
