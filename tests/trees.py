"""Five trees as their authors have them, each file with what its author says of it.

`indexed` is what they wrote.  `left_out` is what lies there besides, by the path that is named for
it, with the reason; a folder, which ends in "/", is named once for all that is in it.  `by_text` is
what only its text tells.  `ignored` is what a `.gitignore` hides, and nobody needs to be told.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import heads

from cidx_ref.index.base import open_base
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.index.scan import Listing, list_files
from cidx_ref.index.skipped import read_skipped
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM

__all__ = [
    "BUILD",
    "DEPENDENCIES",
    "GENERATED",
    "LOCK",
    "MINIFIED",
    "NOT_CHECKED_OUT",
    "OWN_REPOSITORY",
    "VERSION_CONTROL",
    "TREES",
    "Tree",
    "add_submodule",
    "git",
    "init",
    "listed",
    "make_monorepo",
    "rules",
    "run",
    "write",
]

VERSION_CONTROL = "version control data"
DEPENDENCIES = "dependencies"
BUILD = "build output"
LOCK = "lock file"
MINIFIED = "minified"
GENERATED = "generated"
NOT_CHECKED_OUT = "submodule that is not checked out (git submodule update --init)"
OWN_REPOSITORY = "a repository of its own (search in it, or name it in include)"

Files = dict[str, str]


@dataclass(frozen=True)
class Tree:
    """A tree, and what its author says of each file."""

    indexed: Files
    left_out: dict[str, tuple[str, Files]]  # a file's text is under ""
    by_text: dict[str, tuple[str, str | bytes]] = field(default_factory=dict)
    ignored: Files = field(default_factory=dict)
    links: Files = field(default_factory=dict)
    more: Callable[[Path], None] = lambda root: None  # what else is done in it

    def make(self, root: Path) -> None:
        write(root, {**self.indexed, **self.ignored})
        for entry, (_, files) in self.left_out.items():
            write(root, {entry + name: text for name, text in files.items()})
        for path, (_, data) in self.by_text.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data if isinstance(data, bytes) else data.encode())
        for path, to in self.links.items():
            (root / path).symlink_to(to)
        self.more(root)

    @property
    def listed(self) -> list[str]:
        """What is listed, before any text is read."""
        return sorted([*self.indexed, *self.by_text, *self.links])

    @property
    def left_out_at_last(self) -> list[list[str]]:
        """What a run says that it left out, when the texts are read, too."""
        read = [(path, reason) for path, (reason, _) in self.by_text.items()]
        links = [(path, "symlink") for path in self.links]
        return [[path, reason] for path, reason in sorted([*self.skipped, *read, *links])]

    @property
    def tracked(self) -> list[str]:
        """What git tracks: all files that are named one by one, but for a few that are new."""
        files = [entry for entry in self.left_out if not entry.endswith("/")]
        return sorted([*self.indexed, *self.by_text, *files])[:-2]

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """What is left out of the list, with the reasons."""
        return sorted((entry, reason) for entry, (reason, _) in self.left_out.items())


# Making and listing.


def write(root: Path, files: Files) -> None:
    """Write these files below `root`, with the folders above them."""
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def git(root: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """What git says in `root`; the user's configuration is the test's."""
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=root,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        input=stdin,
    )
    return done.stdout.decode("utf-8", "surrogateescape")


def init(root: Path, *tracked: str, commit: bool = False) -> None:
    """Make `root` a checkout in which `tracked` is added, whatever a pattern says."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "--quiet")
    if tracked:
        git(root, "add", "--force", "--", *tracked)
    if commit:
        git(root, "commit", "--quiet", "-m", "first")


def add_submodule(root: Path, source: Path, path: str) -> None:
    """Add a clone of `source` to the checkout `root`, at `path`, and commit it."""
    git(root, "submodule", "--quiet", "add", str(source), path)
    git(root, "commit", "--quiet", "-m", f"add {path}")


def rules(include: list[str], exclude: list[str]) -> Any:
    """What `list_files` is told of a configuration."""
    from cidx_ref.index.belongs import Rules

    return Rules(include=tuple(include), exclude=tuple(exclude))


def listed(root: Path, include: list[str] | None = None, exclude: list[str] | None = None) -> Any:
    """The listing of `root`, and no descriptor is left open by it."""
    before = open_below(root)
    told: dict[str, Any] = {}
    if include or exclude:
        told["rules"] = rules(include or [], exclude or [])
    with TemporaryDirectory() as scratch:
        found: Listing = list_files(root, Path(scratch), SYSTEM, **told)
        assert open_below(Path(scratch)) == set()
    # Fewer, if the collector has closed what an earlier test left to it.
    assert open_below(root) <= before
    return found


def open_below(directory: Path) -> set[tuple[str, str]]:
    """What this process has open there; what threads of earlier tests have is their matter."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists them
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
    return {(fd, path) for fd, path in found if path.startswith(os.path.realpath(directory))}


def run(
    root: Path, include: list[str] | None = None, exclude: list[str] | None = None
) -> tuple[list[str], list[list[str]], dict[str, Any]]:
    """A real run: the paths in the index, what is left out and why, and the whole report."""
    project = Project.at(root)
    told: dict[str, Any] = {}
    if include or exclude:
        told["rules"] = rules(include or [], exclude or [])
    embedder = HashingEmbedder()
    report = bring_up_to_date(project, embedder, **told)
    generations = Generations(project.generations)
    base = open_base(generations, {"id": embedder.id, "dim": embedder.dim}, "")
    assert base is not None
    with base:
        paths = sorted(base.by_path)
    skipped = read_skipped(project, generations.key)["files"]
    return paths, [[file["path"], file["reason"]] for file in skipped], report


# A web application, with what npm, yarn and the bundlers put there.

_PACKAGE = '{"name": "app", "version": "1.0.0", "scripts": {"build": "webpack"}}\n'
_MAP = '{"version":3,"sources":["app.js"],"mappings":"AAAA"}\n'


def _real_npm_package(root: Path) -> None:
    """A package as npm has it, where there is one on this machine."""
    npm = shutil.which("npm")
    inner = Path(npm).resolve().parents[1] / "node_modules" / "semver" if npm else None
    if inner is not None and inner.is_dir():
        shutil.copytree(inner, root / "node_modules" / "semver")


JAVASCRIPT = Tree(
    indexed={
        ".gitignore": "*.log\n*.local\n",
        "package.json": _PACKAGE,
        "webpack.config.js": "module.exports = { entry: './src/index.js' }\n",
        "README.md": "# App\n\nRun `npm run build`; dist/ is made by it.\n",
        "public/index.html": "<!doctype html>\n<title>App</title>\n",
        "src/index.js": "import { App } from './components/App'\n\nApp()\n",
        "src/components/App.tsx": "export function App(): string {\n  return 'app'\n}\n",
        "src/styles/site.css": heads.NOT_MINIFIED["prose.css"],
        "src/icon.js": heads.NOT_MINIFIED["icon.js"],
        "src/licence.js": heads.NOT_MINIFIED["licence.js"],
        "src/words.js": heads.NOT_MINIFIED["one-liner.js"],
        "src/minify.js": "export const isMin = (name) => name.endsWith('.min.js')\n",
        # Ambiguous names with no package.json beside them, and so the author's own.
        "src/build/pipeline.js": "export function pipeline(steps) {\n  return steps\n}\n",
        "src/out/printer.js": "export function print(text) {\n  console.log(text)\n}\n",
        "src/coverage/report.js": "export function report() {}\n",
        "src/vendor/own.js": "export const vendors = ['us']\n",
        "src/lib/node_modules.js": "// A file of that name is no folder.\n",
        "packages/core/package.json": _PACKAGE,
        "packages/core/src/core.ts": "export const core = 1\n",
        "packages/core/src/lock.ts": "export class PackageLock {}\n",
        "tools/linter.js": heads.HAND_WRITTEN["linter.js"],
    },
    left_out={
        "node_modules/": (
            DEPENDENCIES,
            {
                "lodash/package.json": "{}",
                "lodash/lodash.js": "module.exports = {}\n",
                "@scope/tool/index.js": "module.exports = {}\n",
                ".bin/tool": "#!/usr/bin/env node\n",
                ".package-lock.json": "{}",
            },
        ),
        "packages/core/node_modules/": (DEPENDENCIES, {"left-pad/index.js": "x\n"}),
        ".yarn/cache/": (DEPENDENCIES, {"lodash-npm-4.17.21.zip": "PK"}),
        "dist/": (BUILD, {"app.js": "console.log(1)\n", "index.html": "<p>\n"}),
        "build/": (BUILD, {"static/js/main.js": "console.log(1)\n"}),
        "out/": (BUILD, {"index.html": "<p>\n"}),
        "coverage/": (BUILD, {"lcov-report/index.html": "<p>\n", "lcov.info": "TN:\n"}),
        "packages/core/dist/": (BUILD, {"core.d.ts": "export declare const core = 1\n"}),
        ".next/": (BUILD, {"server/pages.js": "x\n"}),
        ".nyc_output/": (BUILD, {"1.json": "{}"}),
        ".parcel-cache/": (BUILD, {"data": "x"}),
        "package-lock.json": (LOCK, {"": '{"lockfileVersion": 3}\n'}),
        "yarn.lock": (LOCK, {"": "# yarn lockfile v1\n"}),
        "packages/core/pnpm-lock.yaml": (LOCK, {"": "lockfileVersion: '6.0'\n"}),
        "public/jquery.min.js": (MINIFIED, {"": "!function(e){}(this)\n"}),
        "public/site.min.css": (MINIFIED, {"": "a{color:red}\n"}),
        "public/old-min.js": (MINIFIED, {"": "!function(e){}(this)\n"}),
        "public/app.js.map": (MINIFIED, {"": _MAP}),
        "public/site.css.map": (MINIFIED, {"": _MAP}),
    },
    by_text={
        "public/bundle.js": (MINIFIED, heads.MINIFIED["bundle.js"]),
        "public/lib.js": (MINIFIED, heads.MINIFIED["bundle.licensed.js"]),
        "public/chunk.mjs": (MINIFIED, heads.MINIFIED["chunk.mjs"]),
        "public/site.css": (MINIFIED, heads.MINIFIED["site.css"]),
        ".yarn/releases/yarn-4.0.2.cjs": (MINIFIED, heads.MINIFIED["bundle.js"]),
        "src/__generated__/query.graphql.js": (GENERATED, heads.GENERATED["query.graphql.js"]),
        "src/api/pet.ts": (GENERATED, heads.GENERATED["pet.ts"]),
    },
    ignored={"npm-debug.log": "x\n", "src/secret.local": "x\n"},
    more=_real_npm_package,
)


# A Python package, with the environments and caches of its tools.


def _real_environment(root: Path) -> None:
    """An environment made by Python itself, and in it a package that is installed."""
    venv.create(root / ".venv", with_pip=False, symlinks=True)
    import rpyc

    (site,) = (root / ".venv" / "lib").glob("python*/site-packages")
    shutil.copytree(Path(rpyc.__file__).parent / "core", site / "rpyc" / "core")


_CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag.\n"
_PB2 = "# -*- coding: utf-8 -*-\n# Generated by the protocol buffer compiler.  DO NOT EDIT!\n"

PYTHON = Tree(
    indexed={
        "pyproject.toml": '[project]\nname = "calc"\n',
        "setup.py": "from setuptools import setup\n\nsetup()\n",
        "README.md": "# Calc\n",
        ".gitignore": "*.pyc\n/local.cfg\n",
        "requirements.txt": "rpyc>=6\n",
        "src/calc/__init__.py": "",
        "src/calc/engine.py": "def add(a, b):\n    return a + b\n",
        # Packages whose names are those of folders that tools make.
        "src/calc/build/__init__.py": "def build():\n    pass\n",
        "src/calc/dist/__init__.py": "def distribute():\n    pass\n",
        "src/calc/env/__init__.py": "ENV = {}\n",
        "src/calc/venv/create.py": "def create():\n    pass\n",
        "src/calc/target/aim.py": "def aim():\n    pass\n",
        "src/calc/vendor/order.py": "def order():\n    pass\n",
        "src/calc/coverage/measure.py": "def measure():\n    pass\n",
        "src/calc/lock.py": "class PoetryLock:\n    pass\n",
        "src/calc/markers.py": heads.HAND_WRITTEN["markers.py"],
        "src/calc/emit.py": heads.HAND_WRITTEN["emit.py"],
        "src/calc/ids.py": heads.HAND_WRITTEN["uuid.py"],
        "src/calc/migrations/0001_initial.py": heads.HAND_WRITTEN["0001_initial.py"],
        "src/calc/table.py": heads.NOT_MINIFIED["table.py"],
        "src/calc/pb2_helpers.py": "def load_pb2():\n    pass\n",
        "tests/test_engine.py": "def test_add():\n    pass\n",
        "docs/conf.py": "project = 'calc'\n",
        "docs/index.rst": "Calc\n====\n",
        "protos/calc.proto": 'syntax = "proto3";\n',
    },
    left_out={
        ".venv/": (DEPENDENCIES, {}),
        "py3/": (DEPENDENCIES, {"pyvenv.cfg": "home = /usr/bin\n", "lib/six.py": "x = 1\n"}),
        "__pypackages__/": (DEPENDENCIES, {"3.11/lib/six.py": "x = 1\n"}),
        ".tox/": (DEPENDENCIES, {"py311/pyvenv.cfg": "home = /usr\n", "py311/lib/a.py": "x\n"}),
        ".nox/": (DEPENDENCIES, {"tests/bin/python": "x"}),
        ".eggs/": (DEPENDENCIES, {"README.txt": "x\n"}),
        "lambda/site-packages/": (DEPENDENCIES, {"six.py": "x = 1\n"}),
        "build/": (BUILD, {"lib/calc/engine.py": "def add(a, b):\n    return a + b\n"}),
        "dist/": (BUILD, {"calc-1.0.tar.gz": "x"}),
        "src/calc.egg-info/": (BUILD, {"PKG-INFO": "Name: calc\n"}),
        "src/calc/__pycache__/": (BUILD, {"engine.cpython-311.txt": "x"}),
        ".pytest_cache/": (BUILD, {"CACHEDIR.TAG": _CACHE_TAG, "README.md": "# pytest\n"}),
        ".mypy_cache/": (BUILD, {"3.11/calc.data.json": "{}"}),
        ".ruff_cache/": (BUILD, {"0.1/1": "x"}),
        ".hypothesis/": (BUILD, {"examples/a": "x"}),
        "htmlcov/": (BUILD, {"index.html": "<p>\n"}),
        "whatever/": (BUILD, {"CACHEDIR.TAG": _CACHE_TAG, "blob.json": "{}"}),
        "docs/_build/": (BUILD, {"html/index.html": "<p>\n"}),
        "poetry.lock": (LOCK, {"": "# This file is automatically @generated by Poetry\n"}),
        "uv.lock": (LOCK, {"": "version = 1\n"}),
        "Pipfile.lock": (LOCK, {"": "{}\n"}),
        "src/calc/calc_pb2.py": (GENERATED, {"": _PB2}),
        "src/calc/calc_pb2_grpc.py": (GENERATED, {"": "# Generated by the gRPC plugin.\n"}),
        "src/calc/calc_pb2.pyi": (GENERATED, {"": "from typing import Any\n"}),
    },
    by_text={"src/calc/fast.c": (GENERATED, heads.GENERATED["fast.c"])},
    ignored={"local.cfg": "x\n", "src/calc/engine.pyc": "x"},
    more=_real_environment,
)


# A C program built by autoconf and by CMake, with parsers that are made.

C = Tree(
    indexed={
        "configure.ac": "AC_INIT([calc], [1.0])\nAC_OUTPUT\n",
        "Makefile.am": "bin_PROGRAMS = calc\n",
        "CMakeLists.txt": "project(calc C)\n",
        "README": "Calc. Run autoreconf -i, then ./configure.\n",
        ".gitignore": "*.o\n/calc\n",
        "src/main.c": "int main(void) { return 0; }\n",
        "src/calc.y": heads.HAND_WRITTEN["calc.y"],
        "src/scan.l": '%{\n#include "calc.tab.h"\n%}\n%%\n[0-9]+ { return NUMBER; }\n',
        "src/tokens.re": heads.HAND_WRITTEN["tokens.re"],
        "src/keywords.gperf": "struct word { char *name; };\n%%\nif\nelse\n",
        "src/window.h": "class Window : public QObject { Q_OBJECT };\n",
        "src/window.cpp": '#include "window.h"\n',
        "src/lempar.c": heads.HAND_WRITTEN["lempar.c"],
        "src/emit.cpp": heads.HAND_WRITTEN["emit.cpp"],
        "src/late.c": heads.HAND_WRITTEN["late.c"],
        "src/build/plan.c": "int plan(void) { return 0; }\n",
        "vendor/README": "A folder of ours: who sells what.\n",
        "vendor/seller.c": "int seller(void) { return 0; }\n",
        "target/aim.c": "int aim(void) { return 0; }\n",
        "bin/run-tests": "#!/bin/sh\nmake check\n",
        "build-aux/install-sh": "#!/bin/sh\n# install - install a program\n",
    },
    left_out={
        "build/": (BUILD, {"CMakeCache.txt": "x\n", "calc.dir/main.c.d": "x\n"}),
        "cmake-build-debug/": (BUILD, {"CMakeCache.txt": "x\n"}),
        "src/zig-out/": (BUILD, {"bin/calc": "x"}),
        "conan.lock": (LOCK, {"": "{}\n"}),
        "src/calc.pb.cc": (GENERATED, {"": "// Generated by protoc.\n"}),
        "src/calc.pb.h": (GENERATED, {"": "#pragma once\n"}),
    },
    by_text={
        "configure": (GENERATED, heads.GENERATED["configure"]),
        "aclocal.m4": (GENERATED, heads.GENERATED["aclocal.m4"]),
        "Makefile.in": (GENERATED, heads.GENERATED["Makefile.in"]),
        "config.h.in": (GENERATED, heads.GENERATED["config.h.in"]),
        "build-aux/ltmain.sh": (GENERATED, heads.GENERATED["ltmain.sh"]),
        "src/calc.tab.c": (GENERATED, heads.GENERATED["calc.tab.c"]),
        "src/calc.tab.h": (GENERATED, heads.GENERATED["calc.tab.h"]),
        "src/lex.yy.c": (GENERATED, heads.GENERATED["lex.yy.c"]),
        "src/moc_window.cpp": (GENERATED, heads.GENERATED["moc_window.cpp"]),
        "src/ui_window.h": (GENERATED, heads.GENERATED["ui_window.h"]),
        "src/tokens.c": (GENERATED, heads.GENERATED["tokens.c"]),
        "src/expr.c": (GENERATED, heads.GENERATED["expr.c"]),
        "src/keywords.c": (GENERATED, heads.GENERATED["keywords.c"]),
        "src/pixels_wrap.c": (GENERATED, heads.GENERATED["pixels_wrap.c"]),
        "data.bin": ("binary", b"\0\1\2\3" * 64),
    },
    ignored={"calc": "x", "src/main.o": "x"},
)


# Notebooks and data.


def _notebook(source: str) -> str:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": [source]}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


NOTEBOOKS = Tree(
    indexed={
        ".gitignore": "/data/raw/\n",
        "README.md": "# Study\n",
        "environment.yml": "name: study\ndependencies: [pandas]\n",
        "setup.cfg": "[metadata]\nname = study\n",
        ".gitattributes": (
            "*.ipynb diff=jupyternotebook\nextern/** linguist-vendored\n"
            "made/*.py linguist-generated\nmade/kept.py -linguist-generated\n"
            "extern/ours.py linguist-vendored=false\n"
        ),
        "notebooks/explore.ipynb": _notebook("import pandas as pd"),
        "notebooks/fit model.ipynb": _notebook("model.fit()"),
        "src/study/load.py": "def load(path):\n    return open(path)\n",
        "data/small.csv": "name,age\nann,31\n",
        "data/schema.json": '{"type": "object"}\n',
        "data/query.sql": "SELECT name FROM people;\n",
        "data/build/counts.csv": "a,1\n",
        "made/kept.py": "# @generated once, and ours since then\nx = 1\n",
        "extern/ours.py": "def ours():\n    pass\n",
    },
    left_out={
        "notebooks/.ipynb_checkpoints/": (BUILD, {"explore-checkpoint.ipynb": _notebook("old")}),
        "env/": (DEPENDENCIES, {"conda-meta/history": "x\n", "lib/six.py": "x = 1\n"}),
        ".cache/": (BUILD, {"data.json": "{}"}),
        "dist/": (BUILD, {"study.whl": "x"}),
        "pixi.lock": (LOCK, {"": "version: 5\n"}),
        "extern/theirs.py": (DEPENDENCIES, {"": "def theirs():\n    pass\n"}),
        "made/tables.py": (GENERATED, {"": "x = 1\n"}),
    },
    by_text={
        "data/large.csv": ("too large", b"1,2,3\n" * 180_000),
        "data/model.pkl": ("binary", b"\x80\x04\x95\x00\x00\x00\x00.\x00"),
        "figures/plot.png": ("binary", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(200)),
    },
    links={"data/latest.csv": "small.csv"},
    ignored={"data/raw/everything.csv": "1\n"},
)


# A monorepo of several languages, with submodules, a clone and a worktree in it.

MONOREPO = Tree(
    indexed={
        "README.md": "# All of it\n",
        ".gitignore": "*.tmp\n",
        ".cidxignore": "/archive/\n*.fixture\n",
        "go/go.mod": "module example.org/go\n",
        "go/main.go": "package main\n\nfunc main() {}\n",
        "go/emit/emit.go": heads.HAND_WRITTEN["emit.go"],
        "go/emit/template.go.tmpl": heads.HAND_WRITTEN["template.go.tmpl"],
        "go/docs/GENERATED.md": heads.HAND_WRITTEN["GENERATED.md"],
        "php/composer.json": "{}\n",
        "php/src/App.php": "<?php\nclass App {}\n",
        "ruby/Gemfile": "gem 'rack'\n",
        "ruby/vendor/assets/ours.js": "ours()\n",
        "rust/Cargo.toml": '[package]\nname = "r"\n',
        "rust/src/main.rs": "fn main() {}\n",
        "rust/src/target/mod.rs": "pub fn aim() {}\n",
        "java/pom.xml": "<project/>\n",
        "java/src/main/java/App.java": "class App {}\n",
        "java/src/main/java/target/Aim.java": "class Aim {}\n",
        "net/App.csproj": "<Project/>\n",
        "net/Program.cs": "class Program {}\n",
        "net/tools/bin/run.cs": "class Run {}\n",
        "elixir/mix.exs": "defmodule M do\nend\n",
        "elixir/lib/m.ex": "defmodule M.A do\nend\n",
        "ops/deps/graph.py": "def graph():\n    pass\n",
        "ops/bin/deploy": "#!/bin/sh\n",
        "ops/obj/store.py": "def store():\n    pass\n",
        "ops/vendor/list.py": "VENDORS = []\n",
        "ops/main.tf": 'resource "x" "y" {}\n',
    },
    left_out={
        "archive/": ("excluded by .cidxignore", {"old.py": "x = 1\n"}),
        "go/emit/golden.fixture": ("excluded by .cidxignore", {"": "x\n"}),
        "go/vendor/": (DEPENDENCIES, {"modules.txt": "# x v1\n", "x/x.go": "package x\n"}),
        "go/go.sum": (LOCK, {"": "x v1 h1:\n"}),
        "go/api.pb.go": (GENERATED, {"": "package main\n"}),
        "php/vendor/": (DEPENDENCIES, {"autoload.php": "<?php\n", "a/b.php": "<?php\n"}),
        "php/composer.lock": (LOCK, {"": "{}\n"}),
        "ruby/vendor/bundle/": (DEPENDENCIES, {"ruby/3.2.0/gems/rack/rack.rb": "x\n"}),
        "ruby/Gemfile.lock": (LOCK, {"": "GEM\n"}),
        "rust/target/": (BUILD, {"debug/build/x.rs": "fn x() {}\n"}),
        "rust/vendor/": (
            DEPENDENCIES,
            {"serde/.cargo-checksum.json": "{}", "serde/src/lib.rs": "fn s() {}\n"},
        ),
        "rust/Cargo.lock": (LOCK, {"": "version = 3\n"}),
        "java/target/": (BUILD, {"classes/App.txt": "x\n"}),
        "net/bin/": (BUILD, {"Debug/App.json": "{}"}),
        "net/obj/": (BUILD, {"project.assets.json": "{}"}),
        "net/Form1.Designer.cs": (GENERATED, {"": "partial class Form1 {}\n"}),
        "net/packages.lock.json": (LOCK, {"": "{}\n"}),
        "elixir/deps/": (DEPENDENCIES, {"plug/lib/plug.ex": "x\n"}),
        "elixir/_build/": (BUILD, {"dev/lib/x": "x\n"}),
        "elixir/mix.lock": (LOCK, {"": "%{}\n"}),
        "ops/.terraform/": (DEPENDENCIES, {"providers/x": "x\n"}),
        "ops/.terraform.lock.hcl": (LOCK, {"": "x\n"}),
        "old/.svn/": (VERSION_CONTROL, {"entries": "12\n", "pristine/00/x.py": "x\n"}),
        "old/.hg/": (VERSION_CONTROL, {"hgrc": "x\n"}),
        "old/CVS/": (VERSION_CONTROL, {"Root": "x\n"}),
    },
    by_text={
        "go/pills.go": (GENERATED, heads.GENERATED["stringer.go"]),
        "go/mocks/licensed.go": (GENERATED, heads.GENERATED["licensed.go"]),
        "java/src/main/java/CalcParser.java": (GENERATED, heads.GENERATED["CalcParser.java"]),
        "java/src/main/java/Service.java": (GENERATED, heads.GENERATED["Service.java"]),
        "rust/src/bindings.rs": (GENERATED, heads.GENERATED["bindings.rs"]),
        "net/Resources.cs": (GENERATED, heads.GENERATED["Resources.cs"]),
    },
    ignored={"go/x.tmp": "x\n"},
)

#: What the monorepo has besides: what is listed in its submodules, and what is named.
MONOREPO_LISTED = [
    ".gitmodules",
    "libs/shared/.cidxignore",
    "libs/shared/.gitignore",
    "libs/shared/.gitmodules",
    "libs/shared/new.py",
    "libs/shared/shared.py",
    "libs/shared/extern/deep/deep.py",
    "libs/shared/keep/x.tmp",  # ignored by the pattern of the monorepo, which has no say here
]
MONOREPO_SKIPPED = [
    ("libs/later/", NOT_CHECKED_OUT),
    ("libs/shared/drafts/", "excluded by .cidxignore"),
    ("libs/shared/extern/deep/Cargo.lock", LOCK),
    ("libs/shared/node_modules/", DEPENDENCIES),
    ("scratch/clone/", OWN_REPOSITORY),
    ("worktrees/fix/", OWN_REPOSITORY),
]


def make_monorepo(root: Path, outside: Path) -> None:
    """The monorepo, committed, with repositories of its own and of others in it."""
    sources = {
        "deep": {"deep.py": "def deep():\n    pass\n", "Cargo.lock": "version = 3\n"},
        "shared": {
            "shared.py": "def shared():\n    pass\n",
            ".gitignore": "*.log\n",
            ".cidxignore": "/drafts/\n",
            "drafts/idea.py": "x = 1\n",
            "keep/x.tmp": "x\n",
        },
        "later": {"later.py": "def later():\n    pass\n"},
    }
    for name, files in sources.items():
        write(outside / name, files)
        init(outside / name, ".", commit=True)
    add_submodule(outside / "shared", outside / "deep", "extern/deep")
    MONOREPO.make(root)
    init(root, *MONOREPO.indexed, commit=True)
    add_submodule(root, outside / "shared", "libs/shared")
    git(root, "submodule", "--quiet", "update", "--init", "--recursive")
    add_submodule(root, outside / "later", "libs/later")
    git(root, "submodule", "--quiet", "deinit", "libs/later")
    write(root, {"libs/shared/new.py": "x = 1\n", "libs/shared/x.log": "x\n"})
    write(root, {"libs/shared/node_modules/a/index.js": "x\n"})
    git(root, "clone", "--quiet", str(outside / "deep"), "scratch/clone")
    git(root, "worktree", "add", "--quiet", "-b", "fix", "worktrees/fix")


TREES = {"javascript": JAVASCRIPT, "python": PYTHON, "c": C, "notebooks": NOTEBOOKS}
