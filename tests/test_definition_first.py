"""Who asks for a name is shown where it is defined, before the twenty files that use it.

In each language, functions, types, constants and what else has a name; among thousands of chunks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from loaded import loaded_of

from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.port import Search
from cidx_ref.index.query import parsed
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot

pytestmark = pytest.mark.once

EMBEDDER = HashingEmbedder()
USERS = 20

#: Language: ending, what defines the names, and how they are used.
LANGUAGES = {
    "python": (
        "py",
        {
            "spin_rotor": 'def spin_rotor(s):\n    """Turn it."""\n    return s * 2\n',
            "RotorPlan": "class RotorPlan:\n    def __init__(self):\n        self.speed = 1\n",
            "MAX_ROTORS": "import os\n\nMAX_ROTORS = 40\nNAME = os.sep\n",
            "RotorMap": "from typing import Dict\n\nRotorMap = Dict[str, int]\n",
        },
        "from rotor import {name}\n\ndef run{n}():\n    a = {name}({n})\n    return {name}, a\n",
    ),
    "javascript": (
        "js",
        {
            "spinGyro": "export function spinGyro(s) {\n  return s * 2;\n}\n",
            "GyroPlan": "class GyroPlan {\n  constructor() { this.speed = 1; }\n}\n",
            "MAX_GYROS": "const fs = require('fs');\n\nconst MAX_GYROS = 40;\n",
            "stopGyro": "const stopGyro = (s) => {\n  return s - 1;\n};\n",
        },
        "import {{ {name} }} from './gyro';\n\nlet a{n} = {name}({n});\nuse({name}, a{n});\n",
    ),
    "typescript": (
        "ts",
        {
            "spinVane": "export function spinVane(s: number) {\n  return s * 2;\n}\n",
            "VanePlan": "export interface VanePlan {\n  speed: number;\n}\n",
            "VaneMap": "export type VaneMap = Map<string, number>;\n",
            "VaneKind": "export enum VaneKind {\n  Up,\n  Down,\n}\n",
            "MAX_VANES": "export const MAX_VANES: number = 40;\n",
        },
        "import {{ {name} }} from './vane';\n\nlet a{n}: any = {name};\nuse({name}, a{n});\n",
    ),
    "go": (
        "go",
        {
            "SpinBlade": "package blade\n\nfunc SpinBlade(s int) int {\n\treturn s * 2\n}\n",
            "BladePlan": "package blade\n\ntype BladePlan struct {\n\tSpeed int\n}\n",
            "MaxBlades": "package blade\n\nconst MaxBlades = 40\n",
            "HaltBlade": "package blade\n\nfunc (s *Set) HaltBlade() int {\n\treturn s.n - 1\n}\n",
        },
        "package main\n\nfunc run{n}() {{\n\ta := blade.{name}({n})\n\tuse(blade.{name}, a)\n}}\n",
    ),
    "rust": (
        "rs",
        {
            "spin_screw": "pub fn spin_screw(s: u32) -> u32 {\n    s * 2\n}\n",
            "ScrewPlan": "pub struct ScrewPlan {\n    speed: u32,\n}\n",
            "MAX_SCREWS": "pub const MAX_SCREWS: usize = 40;\n",
            "Screwing": "pub trait Screwing {\n    fn go(&self);\n}\n",
            "screw_all": "macro_rules! screw_all {\n    ($x:expr) => { $x * 2 };\n}\n",
        },
        "use crate::screw::{name};\n\nfn run{n}() {{\n    go({name}, {name}({n}));\n}}\n",
    ),
    "java": (
        "java",
        {
            "spinWheel": "class Wheels {\n  int spinWheel(int s) {\n    return s * 2;\n  }\n}\n",
            "WheelPlan": "public interface WheelPlan {\n  int speed();\n}\n",
            "MAX_WHEELS": "class Limits {\n  static final int MAX_WHEELS = 40;\n}\n",
            "WheelKind": "public enum WheelKind { BIG, SMALL }\n",
        },
        "class Run{n} {{\n  void go() {{\n    use({name}, x.{name}({n}));\n  }}\n}}\n",
    ),
    "c": (
        "c",
        {
            "spin_crank": "int spin_crank(int s)\n{\n\treturn s * 2;\n}\n",
            "crank_plan": "struct crank_plan {\n\tint speed;\n};\n",
            "MAX_CRANKS": "#define MAX_CRANKS 40\n",
            "crank_t": "typedef unsigned long crank_t;\n",
        },
        '#include "crank.h"\n\nint run{n}(void)\n{{\n\treturn use({name}, {name}({n}));\n}}\n',
    ),
    "cpp": (
        "cpp",
        {
            "spinPiston": "int Engine::spinPiston(int s) {\n  return s * 2;\n}\n",
            "PistonPlan": "class PistonPlan {\n public:\n  int speed;\n};\n",
            "kMaxPistons": "constexpr int kMaxPistons = 40;\n",
            "PistonMap": "using PistonMap = std::map<int, int>;\n",
        },
        '#include "piston.h"\n\nint run{n}() {{\n  return use({name}, {name}({n}));\n}}\n',
    ),
    "csharp": (
        "cs",
        {
            "SpinCog": "class Cogs {\n  int SpinCog(int s) {\n    return s * 2;\n  }\n}\n",
            "ICogPlan": "public interface ICogPlan {\n  int Speed();\n}\n",
            "MaxCogs": "class Limits {\n  public const int MaxCogs = 40;\n}\n",
            "CogKind": "public enum CogKind { Big, Small }\n",
        },
        "class Run{n} {{\n  void Go() {{\n    Use({name}, x.{name}({n}));\n  }}\n}}\n",
    ),
    "ruby": (
        "rb",
        {
            "spin_lever": "def spin_lever(s)\n  s * 2\nend\n",
            "LeverPlan": "class LeverPlan\n  def initialize\n    @speed = 1\n  end\nend\n",
            "MAX_LEVERS": "MAX_LEVERS = 40\n",
            "LeverTools": "module LeverTools\n  def go\n    1\n  end\nend\n",
        },
        "require 'lever'\n\ndef run{n}\n  a = {name}({n})\n  use({name}, a)\nend\n",
    ),
    "php": (
        "php",
        {
            "spinWinch": "<?php\nfunction spinWinch($s) {\n    return $s * 2;\n}\n",
            "WinchPlan": "<?php\nclass WinchPlan {\n    public $speed = 1;\n}\n",
            "MAX_WINCHES": "<?php\nconst MAX_WINCHES = 40;\n",
            "Winching": "<?php\ntrait Winching {\n    public function go() { return 1; }\n}\n",
        },
        "<?php\nfunction run{n}() {{\n    $a = {name}({n});\n    return use_it({name}, $a);\n}}\n",
    ),
    "kotlin": (
        "kt",
        {
            "spinHoist": "fun spinHoist(s: Int): Int {\n    return s * 2\n}\n",
            "HoistPlan": "data class HoistPlan(val speed: Int)\n",
            "MAX_HOISTS": "const val MAX_HOISTS = 40\n",
            "HoistPool": "object HoistPool {\n    fun go() = 1\n}\n",
        },
        "import hoist.{name}\n\nfun run{n}() {{\n    val a = {name}({n})\n    use({name}, a)\n}}\n",
    ),
    "swift": (
        "swift",
        {
            "spinPulley": "func spinPulley(s: Int) -> Int {\n    return s * 2\n}\n",
            "PulleyPlan": "struct PulleyPlan {\n    var speed: Int\n}\n",
            "PulleyLike": "protocol PulleyLike {\n    func go()\n}\n",
            "maxPulleys": "let maxPulleys = 40\n",
        },
        "import Pulley\n\nfunc run{n}() {{\n    let a = {name}({n})\n    use({name}, a)\n}}\n",
    ),
    "scala": (
        "scala",
        {
            "spinAxle": "object Axles {\n  def spinAxle(s: Int): Int = {\n    s * 2\n  }\n}\n",
            "AxlePlan": "case class AxlePlan(s: Int)\n",
            "AxleLike": "trait AxleLike {\n  def go(): Int\n}\n",
        },
        "import axle.{name}\n\ndef run{n}() = {{\n  val a = {name}({n})\n  use({name}, a)\n}}\n",
    ),
    "lua": (
        "lua",
        {
            "spin_gear": "local M = {}\n\nfunction M.spin_gear(s)\n  return s\nend\n\nreturn M\n",
            "halt_gear": "local function halt_gear(s)\n  return s - 1\nend\n",
        },
        "local gear = require('gear')\n\nlocal a{n} = gear.{name}({n})\nuse(gear.{name}, a{n})\n",
    ),
    "shell": (
        "sh",
        {
            "spin_valve": "spin_valve() {\n  echo $(($1 * 2))\n}\n",
            "MAX_VALVES": "MAX_VALVES=40\nexport MAX_VALVES\n",
        },
        ". ./valve.sh\n\na{n}=$({name} {n})\nuse ${name} $a{n}\n",
    ),
    "markdown": (
        "md",
        {"Flywheels": "# Flywheels\n\nHeavy, round and slow to stop.\n"},
        "See {name}, the {name} of chapter {n}, and {name} again.\n",
    ),
}  # fmt: skip

#: What declares some of them, and defines none.
HEADERS = {
    "c/spin_crank.h": """#ifndef CRANK_H
#define CRANK_H
#include "crank_base.h"
/* All there is to be done with cranks. */
struct crank *find_crank(const char *name);
int spin_crank(int s);
void halt_crank(struct crank *c, int at_once);
#endif
""",
    "cpp/spin_piston.h": """#pragma once
class Engine {
 public:
  Engine();
  int start(int gear);
  int spinPiston(int s);
};
""",
}

CASES = [(language, name) for language, (_, names, _) in LANGUAGES.items() for name in names]


#: Of one name several definitions, and how each is asked for.
TWINS = {
    "go/alpha/store.go": "package alpha\n\nfunc OpenVault(n int) int {\n\treturn n * 2\n}\n",
    "go/beta/store.go": "package beta\n\nfunc OpenVault(n int) int {\n\treturn n - 2\n}\n",
    "php/Mail/Courier.php": "<?php\nnamespace App\\Mail;\n\nclass Courier {\n  public $a = 1;\n}\n",
    "php/Bus/Courier.php": "<?php\nnamespace App\\Bus;\n\nclass Courier {\n  public $b = 2;\n}\n",
    "lua/knit.lua": (
        "local knit = {}\n\nfunction knit.add_yarn(n)\n  return n * 2\nend\n\nreturn knit\n"
    ),
    "lua/weave.lua": (
        "local weave = {}\n\nfunction weave.add_yarn(n)\n  return n - 2\nend\n\nreturn weave\n"
    ),
    "typescript/ledger_types.ts": (
        "export interface ILedger {\n  postEntry(n: number): void;\n  closeBook(): void;\n}\n"
    ),
    "typescript/ledger.ts": (
        "export class Ledger implements ILedger {\n  postEntry(n: number) {\n    this.n = n;\n  }\n"
        "  closeBook() {\n    this.n = 0;\n  }\n}\n"
    ),
    "ruby/parcel.rb": (
        "class Parcel\n  def weigh\n    2\n  end\n\n  def sealed?\n    @sealed\n  end\nend\n"
    ),
    "ruby/seal.rb": "class Seal\n  def seal\n    seals.each(&:seal)\n  end\nend\n",
    # Assigned within a function, while a type declares it, and another one has it, too.
    "javascript/loom.js": (
        "export function loomMixin(Loom) {\n"
        "  Loom.prototype._thread = function () {\n    return 1\n"
        "  }\n  Loom.$unwind = (n) => n\n}\n"
    ),
    "types/loom.d.ts": (
        "export interface LoomConstructor {\n"
        "  unspool(): void\n  $unwind(): void\n  _thread(): void\n}\n"
    ),
    "javascript/util.js": "export function unspool(n) {\n  return n\n}\n",
    "javascript/needle.js": (
        "export class Needle {\n  _thread() {\n    return 2\n  }\n"
        "  $unwind() {\n    return 3\n  }\n}\n"
    ),
    # Of small functions of several owners, in one piece.
    "javascript/spool.js": "".join(
        f"{owner}.{name} = function (n) {{ return n + {n} }}\n"
        for n, owner in enumerate(["Spool", "Bobbin", "Spool.prototype", "exports"])
        for name in (f"wind{n}", f"reel{n}")
    ),
    "javascript/reels.js": "".join(
        f"function {name}{n}(n) {{\n  return Bobbin.{name}{n}(Spool, Bobbin)\n}}\n"
        for n in range(4)
        for name in ("wind", "reel")
    ),
    "perl/lib/Knot/Tie/Log.pm": (
        "package Knot::Tie::Log;\nuse strict;\n\n"
        "sub run_tier {\n    my $n = shift;\n    return $n;\n}\n1;\n"
    ),
    "perl/knots.pl": (
        "#!/usr/bin/perl\npackage Rope::Log;\nsub run_tier { return 2 }\n\npackage main;\n"
        "sub untie_all { return 3 }\nuntie_all();\n"
    ),
    # A module is the file itself.
    "lib/twine/modules/plait.py": 'DOCUMENTATION = """Plait it."""\n\n\ndef main():\n    pass\n',
    "lib/twine/core/base.py": 'NAME = "twine"\n\n\ndef start():\n    pass\n',
    "lib/twine/core/strand/__init__.py": "TWISTED = 1\n",
    "lib/twine/tools.py": "def plait(n):\n    return n\n\n\ndef base(n):\n    return n\n",
    # Of a name with many others that are written nearly so.
    **{
        f"javascript/threads/t{n}.js": f"export function thread(n) {{\n  return n + {n}\n}}\n"
        for n in range(100)
    },
    "lib/twine/strands.py": "def strand(n):\n    return n\n",
    "lib/twine/late.py": "Loop.settle_down = lambda loop: loop.n\n",
}
ASKED = [
    ("alpha.OpenVault", "go/alpha/store.go"),
    ("beta.OpenVault()", "go/beta/store.go"),
    ("App\\Mail\\Courier", "php/Mail/Courier.php"),
    ("\\App\\Bus\\Courier", "php/Bus/Courier.php"),
    ("knit.add_yarn", "lua/knit.lua"),
    ("weave.add_yarn", "lua/weave.lua"),
    ("ILedger.postEntry", "typescript/ledger_types.ts"),
    ("Ledger.postEntry", "typescript/ledger.ts"),
    ("Ledger<T>.closeBook", "typescript/ledger.ts"),
    ("sealed?", "ruby/parcel.rb"),
    ("Parcel#sealed?", "ruby/parcel.rb"),
    ("Loom.prototype._thread", "javascript/loom.js"),
    ("Loom._thread", "javascript/loom.js"),
    ("Needle._thread", "javascript/needle.js"),
    ("Loom.$unwind", "javascript/loom.js"),
    ("Loom.unspool", "javascript/util.js"),
    ("LoomConstructor._thread", "types/loom.d.ts"),
    ("Needle.prototype.$unwind", "javascript/needle.js"),
    ("Bobbin.wind1", "javascript/spool.js"),
    ("Spool.prototype.reel2", "javascript/spool.js"),
    ("Knot::Tie::Log::run_tier", "perl/lib/Knot/Tie/Log.pm"),
    ("Knot::Tie::Log->run_tier", "perl/lib/Knot/Tie/Log.pm"),
    ("Rope::Log::run_tier", "perl/knots.pl"),
    ("untie_all", "perl/knots.pl"),
    ("twine.builtin.plait", "lib/twine/modules/plait.py"),
    ("twine.core.base", "lib/twine/core/base.py"),
    ("core.strand", "lib/twine/core/strand/__init__.py"),
    ("twine.tools.plait", "lib/twine/tools.py"),
    ("box.plait", "lib/twine/tools.py"),
    ("Loop.settle_down", "lib/twine/late.py"),
    ("settle_down", "lib/twine/late.py"),
]

#: What more files define than are looked at, and few within a function.
COMMON = "unwrap_box"
OWN, RARE = 300, 1
#: What one file defines so, and more than are looked at write otherwise.
EXACT = "Winder"


def _path(language: str, name: str) -> str:
    ending, names, _ = LANGUAGES[language]
    return f"{language}/part{list(names).index(name)}.{ending}"


def _files() -> Iterator[tuple[str, str]]:
    for language, (ending, names, use) in LANGUAGES.items():
        for name, text in names.items():
            yield _path(language, name), text
            for n in range(USERS):
                where = f"{language}/use/{name.lower()}{n}.{ending}"
                yield where, use.format(name=name, n=n)
    yield from HEADERS.items()
    yield from TWINS.items()
    for n in range(OWN):
        yield f"own/module{n}.py", f"def {COMMON}(box):\n    return box + {n}\n"
        yield f"winder/winder{n}.py", f"winder = {n}\n\n\nclass Box{n}:\n    WINDER = winder\n"
    steps = "".join(f"        self.step{n} = turned({n}, gear=tooth)\n" for n in range(30))
    yield "winder/zebra.py", f"class {EXACT}:\n    def __init__(self):\n{steps}"
    for n in range(RARE):
        text = f"def made{n}(box):\n    def {COMMON}():\n        return box\n    return {COMMON}\n"
        yield f"inner/module{n}.py", text
    for n in range(USERS):
        yield f"use/twins{n}.py", "\n".join(f"use({asked!r})" for asked, _ in ASKED) + "\n"
    rng = random.Random(7)
    vocabulary = ["".join(rng.choices("bcdfghklmnprtvz", k=7)) for _ in range(3000)]
    for n in range(3000):
        yield f"noise/{n % 50}/n{n}.txt", " ".join(rng.choices(vocabulary, k=12)) + "\n"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    with loaded_of(tmp_path_factory.mktemp("definitions"), _files()) as snapshot:
        yield snapshot


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", ["hybrid", "fts"])
@pytest.mark.parametrize(("language", "name"), CASES)
def test_the_definition_comes_before_all_who_use_it(
    snapshot: IndexSnapshot, language: str, name: str, mode: str
) -> None:
    for query in (name, f"{name}()"):
        found = answer(snapshot, Search(query, mode), EMBEDDER)["results"]
        assert len(found) == 10
        assert found[0]["path"] == _path(language, name), query


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", ["hybrid", "fts"])
@pytest.mark.parametrize(
    ("name", "header"), [("spin_crank", "c/spin_crank.h"), ("spinPiston", "cpp/spin_piston.h")]
)
def test_the_header_that_declares_it_comes_next(
    snapshot: IndexSnapshot, name: str, header: str, mode: str
) -> None:
    found = answer(snapshot, Search(name, mode), EMBEDDER)["results"]
    assert found[0]["path"] == _path(header.partition("/")[0], name)
    assert found[1]["path"] == header


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", ["hybrid", "fts"])
@pytest.mark.parametrize(("asked", "path"), ASKED)
def test_of_definitions_of_one_name_the_one_that_is_qualified_so_comes_first(
    snapshot: IndexSnapshot, asked: str, path: str, mode: str
) -> None:
    found = answer(snapshot, Search(asked, mode), EMBEDDER)["results"]
    assert found[0]["path"] == path


@pytest.mark.promise("QRY-3")
def test_of_more_definitions_than_are_looked_at_those_within_functions_are_left_out(
    snapshot: IndexSnapshot,
) -> None:
    engine = snapshot.fulltext
    assert engine is not None
    found = [chunk for chunk, _ in engine.definitions(parsed(COMMON), OWN)]
    assert {snapshot.chunks.read(n).path for n in found} == {
        f"own/module{n}.py" for n in range(OWN)
    }
    assert len(engine.definitions(parsed(COMMON), 2 * OWN)) == OWN + RARE


@pytest.mark.promise("QRY-3")
def test_what_is_written_as_it_is_asked_for_is_looked_at_before_all_that_is_written_otherwise(
    snapshot: IndexSnapshot,
) -> None:
    engine = snapshot.fulltext
    assert engine is not None
    [(first, _)] = engine.definitions(parsed(EXACT), 1)
    assert snapshot.chunks.read(first).path == "winder/zebra.py"
