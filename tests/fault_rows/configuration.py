"""Rows: what may be in `config.json`, and not mean anything.

One daemon's service stands for all cases: it takes over what is right, and keeps what it had.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from cidx_ref import config
from cidx_ref.cli import main
from cidx_ref.config import Config
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import CidxError, ConfigError, UntrustedError
from cidx_ref.project import Project
from fault_rows.table import Place, Trial, mutant, row

KEYS = [field.name for field in fields(Config)]
_WORDS = ("true", "yes", "10", "", "x", "\udc80", "\u202e", "é" * 300, "\0", "../..", "a\nb", "!a")
_NUMBERS = (
    *(0, 1, -1, 0.5, 1 / 60, 10, 99, 100, 101, 10_080, 10_081, 60_000, 60_001, 86_400, 86_401),
    *(1 << 24, (1 << 24) + 1, 1 << 63, -(1 << 63), 10**300, 10**4000, 1e308, math.inf, math.nan),
    -0.0, 1e-320,
)  # fmt: skip


def _value(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return random.choice((None, True, False))
    if kind in (1, 2):
        return random.choice(_NUMBERS)
    if kind in (3, 4):
        return random.choice(_WORDS)
    many = random.choice((0, 1, 3, 101, 400)) if depth == 0 else random.randrange(3)
    if kind == 5:
        return [_value(random, depth + 1) for _ in range(many)]
    if kind == 6:
        return [random.choice(_NUMBERS) for _ in range(many)]
    return {str(random.choice((*_WORDS, *KEYS))): _value(random, depth + 1) for _ in range(3)}


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and value == value and low <= value <= high


def _is_list(value: Any, most: int, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) <= most and all(map(fits, value))


def _is_pattern(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 256


#: What the documentation says of each value, once more.
ALLOWED: dict[str, Callable[[Any], bool]] = {
    "enabled": lambda v: isinstance(v, bool),
    "ttl_minutes": lambda v: _is_number(v, 1 / 60, 10_080),
    "auto_shutdown_on_idle": lambda v: isinstance(v, bool),
    "eviction_check_interval_seconds": lambda v: _is_number(v, 0.1, 86_400),
    "max_retries": lambda v: type(v) is int and 0 <= v <= 100,
    "retry_delays_ms": lambda v: _is_list(v, 100, lambda d: _is_number(d, 0, 60_000)),
    "max_file_size_bytes": lambda v: type(v) is int and 1 <= v <= 1 << 24,
    "watch": lambda v: isinstance(v, bool),
    "include": lambda v: _is_list(v, 100, _is_pattern),
    "exclude": lambda v: _is_list(v, 100, _is_pattern),
}
assert ALLOWED.keys() == set(KEYS)


def _deep(random: Random) -> bytes:
    depth = random.choice((900, 5_000, 100_000))
    begin, end = random.choice(((b"[", b"]"), (b'{"daemon":', b"}"), (b'{"a":[', b"]}")))
    return (begin * depth + b"1" + end * depth)[: random.choice((1 << 17, 1 << 20))]


def _text(document: Any) -> bytes:
    return json.dumps(document).encode("ascii")


def _of_values(random: Random) -> bytes:
    block = {key: _value(random) for key in random.sample(KEYS, random.choice((1, 1, 1, 2, 4)))}
    return _text({"other": {"of": "others"}, "daemon": block})


def _slipped(random: Random) -> bytes:
    key = random.choice(KEYS)
    at = random.randrange(1, len(key))
    return _text({"daemon": {key[:at] + random.choice(("", "_", "x")) + key[at + 1 :]: 1}})


def _mangled(random: Random) -> bytes:
    data = bytearray(_of_values(random))
    for _ in range(random.choice((1, 1, 3))):
        at = random.randrange(len(data))
        data[at : at + random.choice((0, 1, 1))] = random.randbytes(random.choice((0, 1, 1)))
    return bytes(data)


KINDS: dict[str, Callable[[Random], bytes]] = {
    "values": _of_values,
    "values again": _of_values,
    "a slip": _slipped,
    "any JSON": lambda random: _text(random.choice((_value(random), {"daemon": _value(random)}))),
    "bytes": lambda random: random.randbytes(random.choice((0, 1, 30, 3000))),
    "mangled": _mangled,
    "cut off": lambda random: (t := _of_values(random))[: random.randrange(len(t))],
    "deep": _deep,
    "long": lambda random: _text({"daemon": {}, "x": "y" * random.choice((1 << 17, 1 << 18))}),
    "twice": lambda random: _of_values(random)[:-1] + b', "daemon": {"watch": true}}',
    "encoded": lambda random: (
        _of_values(random)
        .decode("ascii")
        .encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-be", "cp037")))
    ),
    "digits": lambda random: b'{"daemon": {"max_retries": ' + b"9" * random.choice((400, 9000)),
    "many keys": lambda random: _text({"daemon": {f"k{n}": n for n in range(2_000)}}),
}


def _judged(data: bytes) -> bool | None:
    """Whether every value of ours is allowed; None where this cannot say."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict):
        return False
    if (block := document.get("daemon")) is None:
        block = {}  # null is the full cidx's, where it has no daemon
    if not isinstance(block, dict):
        return False
    known = {key: value for key, value in block.items() if key in ALLOWED}
    if not all(ALLOWED[key](value) for key, value in known.items()):
        return False
    is_plain = not {"include", "exclude", "retry_delays_ms", "max_retries"} & known.keys()
    return True if is_plain and len(known) == len(block) and len(data) <= 1 << 18 else None


class _Configured:
    """A project with a service that has its configuration."""

    def __init__(self, path: Path) -> None:
        (path / "project").mkdir()
        self.project = Project.at(path / "project")
        self.project.create_directory()
        self.path = self.project.config_path
        self.service = CIDXDaemonService(self.project.root)
        assert self.service.config == Config()

    def check(self, number: int) -> None:
        random = Random(f"configuration {number}")
        kind = [*KINDS][number % len(KINDS)]
        self.path.write_bytes(data := KINDS[kind](random))
        config_, refused = self._loaded(kind)
        if kind == "twice":
            assert "is there twice" in refused, f"{kind}: one of the two is lost: {refused}"
        elif (judged := _judged(data)) is not None:
            assert judged is (config_ is not None), f"{kind}: {data[:200]!r}: {refused}"
        before = self.service.config
        self.service.reload_config()
        assert self.service.config == (config_ or before), f"{kind}: not what it had"
        if number % 4 == 0:
            self._check_commands(kind, data, config_, refused)

    def _loaded(self, kind: str) -> tuple[Config | None, str]:
        try:
            return Config.load(self.path), ""
        except (ConfigError, UntrustedError) as error:
            said = str(error)
        is_line = "\n" not in said and "\r" not in said and len(said) < 800
        assert is_line, f"{kind}: no line: {said[:900]!r}"
        assert str(self.path) in said, f"{kind}: names no file: {said}"
        if ": daemon." in said:
            key, _, value = said.partition(": daemon.")[2].partition(": ")
            is_named = key in ALLOWED and ": " in value  # the value, and what is allowed
            assert is_named or "did you mean" in value, f"{kind}: names no key and value: {said}"
        return None, said

    def _check_commands(self, kind: str, data: bytes, config_: Config | None, refused: str) -> None:
        out, complaint = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(complaint):
            status = main(["init", "--ttl-minutes", "7", "--project", str(self.project.root)])
        lines = complaint.getvalue().splitlines()
        assert os.listdir(self.path.parent).count("config.json") == 1
        assert len(os.listdir(self.path.parent)) <= 3, os.listdir(self.path.parent)
        if config_ is None and "ttl_minutes" in refused and status == 0:
            assert Config.load(self.path).ttl_minutes == 7  # it was just what is set now
        elif config_ is None:
            assert status == 2, f"{kind}: exit status {status}: {refused}"
            assert len(lines) == 1, f"{kind}: {lines[:3]}"
            assert lines[0].startswith("cidx-ref: "), lines
            assert self.path.read_bytes() == data, f"{kind}: what is refused was changed"
        else:
            assert status == 0, f"{kind}: {lines[:3]}"
            before, after = json.loads(data), json.loads(self.path.read_bytes())
            for document in (before, after):  # `nan` is unlike itself
                document.pop("daemon", None)
            assert repr(after) == repr(before), f"{kind}: other programs' keys were changed"
            assert Config.load(self.path).ttl_minutes == 7


@row(
    "config.json holds garbage: bytes, JSON of every shape, huge, deep, keys twice, NaN, encodings",
    "CFG-1",
    cases=5000,
    sample=130,
)
@contextmanager
def configuration(place: Place) -> Iterator[Trial]:
    configured = _Configured(place.path)
    yield Trial(configured.check)
    shutil.rmtree(configured.project.root)


@mutant("configuration", "a value is taken as it is, whatever is allowed")
@contextmanager
def _any_value() -> Iterator[None]:
    rules = {key: (allowed, lambda value: True) for key, (allowed, _) in config._RULES.items()}
    with patch.object(config, "_RULES", rules):
        yield


@mutant("configuration", "of a key that is there twice, one is lost")
@contextmanager
def _twice() -> Iterator[None]:
    with patch.object(config, "_noting", lambda twice, pairs: dict(pairs)):
        yield


@mutant("configuration", "a daemon takes the defaults where a file is bad")
@contextmanager
def _defaults() -> Iterator[None]:
    def reload_config(self: CIDXDaemonService) -> None:
        try:
            self.config = Config.load(self._served.project.config_path)  # type: ignore[union-attr]
        except CidxError:
            self.config = Config()

    with patch.object(CIDXDaemonService, "reload_config", reload_config):
        yield


@mutant("configuration", "an error of the parser is not told as one of the file")
@contextmanager
def _raw() -> Iterator[None]:
    loads = json.loads

    def deep(*arguments: Any, **options: Any) -> Any:
        try:
            return loads(*arguments, **options)
        except RecursionError:
            raise RuntimeError("too deep") from None

    with patch.object(json, "loads", deep):
        yield
