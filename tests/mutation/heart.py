"""Mutation testing of the heart: break it in hundreds of small ways, and see what the tests say.

    tox -e mutation                 all of them
    tox -e mutation -- '*Gate*'     those whose names match

mutmut makes the mutants and runs the tests; how, and which tests, is under `[tool.mutmut]` in
pyproject.toml.  Here belongs what surrounds it: the copy that is broken, and the judgement.  At
least nine of ten mutants must be killed, and each of the others must stand in survivors.toml with
the reason why no test can, or need, tell it from the original.  A survivor that is not listed
fails the run, and so does one that is listed and survives no more.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parents[2]
_LIST = Path(__file__).with_name("survivors.toml")

_TOOL = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]
#: What is mutated, by mutmut's names for it.
_HEART = tuple(f"{path.removesuffix('.py').replace('/', '.')}.*" for path in _TOOL["only_mutate"])
_AT_LEAST = 0.9
#: An interruption is one of pytest, by what a test had raised and the mutant let through.
_KILLED = ("killed", "timeout", "segfault", "check was interrupted by user")


class _Survivor(NamedTuple):
    """A mutant that no test noticed, by what it changes: line numbers would not last."""

    where: str
    was: str
    now: str

    def __str__(self) -> str:
        # As it would stand in the list: this is how most entries begin.
        quoted = (_quoted(value) for value in (self.where, self.was, self.now))
        return "[[survivor]]\nwhere = {}\nwas = {}\nnow = {}".format(*quoted)


def main(arguments: Sequence[str]) -> int:
    """Break a copy, made at the first argument; the others choose among the mutants."""
    place = Path(arguments[0]).resolve()
    chosen = tuple(arguments[1:]) or _HEART
    _copy(place)
    # One at a time: a test that waits for a thread should not have to share its processor.
    done = subprocess.run(["mutmut", "run", "--max-children", "1", *chosen], cwd=place)
    return done.returncode or _judge(place, chosen)


def _copy(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    for name in ("cidx_ref", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_ROOT / name, place / name, ignore=ignored)
    shutil.copy(_ROOT / "pyproject.toml", place)
    for module in {name.split(".x")[0].removesuffix(".*") for name in _HEART}:
        path = place / f"{module.replace('.', '/')}.py"
        path.write_text(_undecorated(path.read_text()))


def _undecorated(source: str) -> str:
    """`source` with `name = decorator(name)` after a function instead of `@decorator` before it.

    It means the same, but mutmut passes over functions that are decorated, and here many of those
    that matter are context managers.
    """
    lines = source.splitlines()
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    for node in sorted(functions, key=lambda node: node.lineno, reverse=True):
        if not node.decorator_list or node.end_lineno is None:
            continue
        indent = " " * node.col_offset
        # The setter of a property must not hide the property that it is made from.
        setter = ".setter" in ast.unparse(node.decorator_list[0])
        name = f"set_{node.name}" if setter else node.name
        value = name
        for decorator in reversed(node.decorator_list):
            value = f"{ast.unparse(decorator)}({value})"
        lines.insert(node.end_lineno, f"{indent}{node.name} = {value}")
        lines[node.lineno - 1] = lines[node.lineno - 1].replace(node.name, name, 1)
        del lines[node.decorator_list[0].lineno - 1 : node.lineno - 1]
    return "\n".join(lines) + "\n"


def _judge(place: Path, chosen: Sequence[str]) -> int:
    outcomes = _outcomes(place, chosen)
    if not outcomes:
        print("no mutant is called that")
        return 1
    alive = [name for name, status in outcomes.items() if status not in _KILLED]
    _print_rates(outcomes, alive)
    survivors = {_survivor(place, name): outcomes[name] for name in alive}
    listed = _listed()
    failures = [
        f"not listed ({status}):\n{s}" for s, status in survivors.items() if s not in listed
    ]
    if chosen == _HEART:
        failures += [f"listed, but does not survive:\n{s}" for s in sorted(listed - {*survivors})]
        if len(alive) > (1 - _AT_LEAST) * len(outcomes):
            failures.append(f"fewer than {_AT_LEAST:.0%} of the mutants are killed")
    print("\n\n".join(["", *failures]) if failures else "every survivor is listed")
    return int(bool(failures))


def _outcomes(place: Path, chosen: Sequence[str]) -> dict[str, str]:
    """The status of each mutant of the heart, by mutmut's name for it."""
    lines = _mutmut(place, "results", "--all", "true").splitlines()
    pairs = [line.strip().rsplit(": ", 1) for line in lines]
    return {name: status for name, status in pairs if _matches(name, _HEART, chosen)}


def _matches(name: str, *choices: Sequence[str]) -> bool:
    return all(any(fnmatchcase(name, pattern) for pattern in choice) for choice in choices)


def _survivor(place: Path, name: str) -> _Survivor:
    body = _mutmut(place, "show", name).split("@@", 1)[1].splitlines()[1:]
    was = " ".join(line[1:].strip() for line in body if line.startswith("-"))
    now = " ".join(line[1:].strip() for line in body if line.startswith("+"))
    where = re.sub(r"__mutmut_\d+$", "", name)
    return _Survivor(re.sub(r"\.x(ǁ|_)", ".", where).replace("ǁ", "."), was, now)


def _listed() -> set[_Survivor]:
    entries = tomllib.loads(_LIST.read_text(encoding="utf-8")).get("survivor", [])
    assert all(entry["why"].strip() for entry in entries)
    return {_Survivor(entry["where"], entry["was"], entry["now"]) for entry in entries}


def _print_rates(outcomes: dict[str, str], alive: Sequence[str]) -> None:
    made = Counter(name.split(".x")[0] for name in outcomes)
    missed = Counter(name.split(".x")[0] for name in alive)
    for module, count in sorted(made.items()):
        killed = count - missed[module]
        print(f"{module:<28}{killed:>5} of {count:>4} killed  {killed / count:>6.1%}")
    killed = len(outcomes) - len(alive)
    print(f"{'all':<28}{killed:>5} of {len(outcomes):>4} killed  {killed / len(outcomes):>6.1%}")


def _mutmut(place: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["mutmut", *arguments], cwd=place, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def _quoted(value: str) -> str:
    # A literal string of TOML, where it can be one: code is full of quotation marks.
    return f"'{value}'" if "'" not in value else f"'''{value}'''"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
