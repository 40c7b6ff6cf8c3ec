"""What does not belong to an index unless somebody asks for it, by names: the tables.

A folder or a file is judged by its name, and by what is listed beside it or in it; a name that is
an author's own word as often as a program's (`build`, `vendor`) counts only with a marker.  Pure
functions; what brings a path back is the matter of `belongs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

__all__ = [
    "BUILD_OUTPUT", "DEPENDENCIES", "GENERATED", "LOCK_FILE", "MARKERS", "MARKING_FOLDER",
    "MINIFIED", "NEIGHBOURS", "VERSION_CONTROL", "Tree", "is_ordinary", "may_be_left_out",
    "why_file", "why_folder", "why_named",
]  # fmt: skip

VERSION_CONTROL = "version control data"
DEPENDENCIES = "dependencies"
BUILD_OUTPUT = "build output"
LOCK_FILE = "lock file"
MINIFIED = "minified"
GENERATED = "generated"


class Tree(Protocol):
    """What is listed of a tree.  A folder is written "" or "folder/"."""

    def holds(self, path: str) -> bool:
        """Whether there is a file, or a folder that ends in "/" and has files, at `path`."""

    def names(self, folder: str) -> Iterable[str]:
        """The names of the files in `folder`."""

    def is_tracked(self, folder: str) -> bool:
        """Whether git tracks a file in `folder`, however deep."""

    def is_cache(self, folder: str) -> bool:
        """Whether there is a `CACHEDIR.TAG` in `folder`, with its signature."""

    def has_checksums(self, folder: str) -> bool:
        """Whether a folder in `folder` has a `.cargo-checksum.json`."""


def _words(text: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(text.split(), reason)


_FOLDERS = {
    **_words(".hg .svn .jj .bzr CVS _darcs .pijul .pc", VERSION_CONTROL),
    **_words(
        "node_modules bower_components jspm_packages web_modules __pypackages__ site-packages .tox "
        ".nox .eggs Pods Carthage elm-stuff .pnpm-store .bundle .gradle .m2 .stack-work .dart_tool "
        ".pub-cache .terraform",
        DEPENDENCIES,
    ),
    **_words(
        "__pycache__ .mypy_cache .pytest_cache .ruff_cache .hypothesis .ipynb_checkpoints .next "
        ".nuxt .svelte-kit .parcel-cache .turbo .angular .cache .sass-cache htmlcov .nyc_output "
        "DerivedData zig-cache .zig-cache zig-out",
        BUILD_OUTPUT,
    ),
}

_FILES = {
    **_words(".fslckout _FOSSIL_", VERSION_CONTROL),
    **_words(
        "package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb "
        "Cargo.lock poetry.lock uv.lock pdm.lock Pipfile.lock Gemfile.lock composer.lock go.sum "
        "go.work.sum flake.lock mix.lock pubspec.lock Podfile.lock packages.lock.json "
        "gradle.lockfile Package.resolved deno.lock conan.lock .terraform.lock.hcl "
        "MODULE.bazel.lock pixi.lock rebar.lock paket.lock",
        LOCK_FILE,
    ),
}

_MINIFIED = tuple(
    ".min.js .min.mjs .min.cjs .min.css -min.js -min.css "
    ".js.map .mjs.map .cjs.map .css.map .ts.map .min.map".split()
)
_GENERATED = tuple(
    ".pb.go .pb.gw.go _pb2.py _pb2_grpc.py _pb2.pyi .pb.cc .pb.h .pb.swift _pb.js _pb.d.ts "
    ".g.dart .freezed.dart .designer.cs .Designer.cs .g.cs .g.i.cs".split()
)
#: A piece of each of these endings.
_ODD = re.compile(r"[.-]min\.|\.map\n|\.pb\.|_pb|\.g\.|\.freezed\.|\.[dD]esigner\.")

#: Folders that are build output where one of these lies beside them, and git tracks none of it.
_PACKAGES = "setup.py setup.cfg pyproject.toml package.json build.gradle build.gradle.kts".split()
_PROJECTS = (".csproj", ".fsproj", ".vbproj")
_BESIDE = {
    "target": ["Cargo.toml", "pom.xml", "build.sbt"],
    "build": [*_PACKAGES, "CMakeLists.txt", "meson.build"],
    "dist": _PACKAGES,
    "out": ["package.json"],
    "_build": ["mix.exs", "dune-project", "conf.py"],
    "coverage": ["package.json"],
}
_NOTABLE = {*_FOLDERS, *_BESIDE, *"vendor bundle cache unplugged deps bin obj".split()}

#: Files in a folder that can leave it out, whatever its name, and the folder that can.
MARKERS = frozenset(("pyvenv.cfg", "CACHEDIR.TAG"))
MARKING_FOLDER = "conda-meta/"

#: Files that may decide, by being there, about what lies in their folder or beside them.
NEIGHBOURS = MARKERS | {
    *(name for names in _BESIDE.values() for name in names),
    *"modules.txt autoload.php composer.json Gemfile .cargo-checksum.json".split(),
}


def why_folder(above: str, name: str, tree: Tree) -> str | None:
    """Why the folder `name` in the folder `above` is left out; None if it is not."""
    if name in _FOLDERS:
        return _FOLDERS[name]
    if name.endswith(".egg-info") or name.startswith("cmake-build-"):
        return BUILD_OUTPUT
    folder = f"{above}{name}/"
    if _holds_dependencies(above, name, folder, tree):
        return DEPENDENCIES
    if tree.is_cache(folder):
        return BUILD_OUTPUT
    if name in _BESIDE:
        is_output = any(tree.holds(above + marker) for marker in _BESIDE[name])
    else:
        is_output = name in ("bin", "obj") and any(
            beside.endswith(_PROJECTS) for beside in tree.names(above)
        )
    return BUILD_OUTPUT if is_output and not tree.is_tracked(folder) else None


def why_named(above: str, name: str) -> str | None:
    """The same, where nothing is known but the name."""
    return why_folder(above, name, _NOTHING)


class _Nothing:
    def holds(self, path: str) -> bool:
        return False

    def names(self, folder: str) -> Iterable[str]:
        return ()

    def is_tracked(self, folder: str) -> bool:
        return False

    def is_cache(self, folder: str) -> bool:
        return False

    def has_checksums(self, folder: str) -> bool:
        return False


_NOTHING = _Nothing()


def _holds_dependencies(above: str, name: str, folder: str, tree: Tree) -> bool:
    if tree.holds(folder + "pyvenv.cfg") or tree.holds(folder + MARKING_FOLDER):
        return True
    if name == "vendor":
        return (
            tree.holds(folder + "modules.txt")
            or tree.holds(folder + "autoload.php")
            or tree.holds(above + "composer.json")
            or (tree.holds(above + "Cargo.toml") and tree.has_checksums(folder))
        )
    if name == "bundle":
        return f"/{above}".endswith("/vendor/") and tree.holds(above[: -len("vendor/")] + "Gemfile")
    if name in ("cache", "unplugged"):
        return f"/{above}".endswith("/.yarn/")
    return name == "deps" and tree.holds(above + "mix.exs")


def is_ordinary(name: str) -> bool:
    """Whether a folder of this name is left out only for what is in it (see `MARKERS`)."""
    return (
        name not in _NOTABLE
        and not name.endswith(".egg-info")
        and not name.startswith("cmake-build-")
    )


def may_be_left_out(names: list[str]) -> bool:
    """Whether any of these files might be left out; else they need not be asked for one by one."""
    # One look at all of them: a tree has many more files than folders.
    return not _FILES.keys().isdisjoint(names) or _ODD.search("\n".join(names) + "\n") is not None


def why_file(name: str) -> str | None:
    """Why the file `name` is left out; None if it is not."""
    if name in _FILES:
        return _FILES[name]
    if name.endswith(_MINIFIED):
        return MINIFIED
    return GENERATED if name.endswith(_GENERATED) else None
