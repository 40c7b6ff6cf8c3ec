"""`.code-indexer/config.json`: the story's `daemon` block, read and checked, or made anew.

What the story asks of it is in docs/requirements.md, "Configuration".  The rest of the file belongs
to other programs and is never dropped or rewritten (CFG-1).  The file may have come with a clone:
it moves the daemon within fixed bounds, and names neither code nor addresses nor places.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from cidx_ref.errors import ConfigError
from cidx_ref.files import own_directory
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import escape, shown

__all__ = ["Config"]

_MAX_BYTES = 1 << 18
_MAX_RETRYING_S = 60
_MAX_PATTERNS = 100
_MAX_PATTERN_CHARS = 256
#: What an index run goes by.
_OF_RUNS = ("max_file_size_bytes", "include", "exclude")
#: The keys that are ours and not the story's: written only where somebody sets them.
_OURS = (*_OF_RUNS, "watch")


@dataclass(frozen=True, slots=True)
class Config:
    """The `daemon` block.  Names, meanings and defaults are the story's; the last four are ours.

    `include` and `exclude` are patterns as in `.gitignore`: docs/what-is-indexed.md; `watch`:
    docs/freshness.md.
    """

    enabled: bool = True
    ttl_minutes: float = 10
    auto_shutdown_on_idle: bool = True
    eviction_check_interval_seconds: float = 60
    max_retries: int = 4
    retry_delays_ms: tuple[float, ...] = (100, 500, 1000, 2000)
    max_file_size_bytes: int = 1_048_576
    watch: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def ttl_s(self) -> float:
        return self.ttl_minutes * 60

    def delays_ms(self) -> list[float]:
        """How long to wait after each try that failed; there are so many retries."""
        delays = self.retry_delays_ms or (0,)
        return list(islice(chain(delays, repeat(delays[-1])), self.max_retries))

    def for_runs(self) -> dict[str, Any]:
        """What an index run goes by, by name."""
        return {name: getattr(self, name) for name in _OF_RUNS}

    @classmethod
    def load(cls, path: Path) -> Config:
        """The checked contents of `path`; the defaults where there is no such file.

        Raises `ConfigError`, naming file, key, value and what is allowed.
        """
        return _checked(path, _read(path))

    @classmethod
    def init(cls, project: Project, *, runtime: Runtime = SYSTEM, **changes: Any) -> Config:
        """Write the story's `daemon` block into the project's file, with `changes` to it.

        What the file holds already stays: other programs' keys, and our own that `changes` does
        not name.  Raises `ConfigError` for a bad value, and then writes nothing.
        """
        path = project.config_path
        with project.open_configuration(runtime) as directory:
            document = _read(path, to_write=True)
            old = _block(document)
            if isinstance(old, dict):  # else it is what the check refuses
                defaults = asdict(cls())
                for name in _OURS:
                    del defaults[name]
                defaults["retry_delays_ms"] = list(defaults["retry_delays_ms"])  # as JSON has it
                document["daemon"] = {**defaults, **old, **changes}
            config = _checked(path, document)
            found = directory.status(path.name)
            mode = stat.S_IMODE(found.st_mode) if found is not None else 0o600
            directory.replace(path.name, _written(path, document), mode=mode)
        return config


def _read(path: Path, *, to_write: bool = False) -> dict[str, Any]:
    twice: list[tuple[dict[str, Any], str]] = []
    try:
        with own_directory(path.parent) as directory:
            data = directory.read(path.name, _MAX_BYTES)
        document = json.loads(data, object_pairs_hook=partial(_noting, twice))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise ConfigError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold a JSON object, not {type(document).__name__}")
    # One of two would count for nothing, silently, and be lost with the next `init`.  What other
    # programs have of their own twice is their matter, as long as it is not written anew.
    block = document.get("daemon")
    for found, key in twice:
        if to_write or found is block or (found is document and key == "daemon"):
            raise ConfigError(f"{path}: {shown(key)}: is there twice: remove one of the two")
    return document


def _noting(twice: list[tuple[dict[str, Any], str]], pairs: list[tuple[str, Any]]) -> Any:
    """An object of JSON; the first key that is in it twice is noted."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and (not twice or twice[-1][0] is not found):
            twice.append((found, key))
        found[key] = value
    return found


def _written(path: Path, document: dict[str, Any]) -> bytes:
    """The file, indented unless what others have in it is so deep that it could not be read."""
    for layout in ({"indent": 2}, {}):
        text = json.dumps(document, **layout) + "\n"  # type: ignore[arg-type]
        if len(text) <= _MAX_BYTES:
            return text.encode()
    raise ConfigError(f"{path}: would be larger than {_MAX_BYTES} bytes")


def _block(document: dict[str, Any]) -> Any:
    """What there is of ours: the full cidx writes null where it has no daemon."""
    block = document.get("daemon")
    return {} if block is None else block


def _checked(path: Path, document: dict[str, Any]) -> Config:
    block = _block(document)
    if not isinstance(block, dict):
        raise ConfigError(f"{path}: daemon: {shown(block)}: must be an object")
    known = {field.name: block[field.name] for field in fields(Config) if field.name in block}
    for key, value in known.items():
        allowed, accepts = _RULES[key]
        if not accepts(value):
            raise ConfigError(f"{path}: daemon.{key}: {shown(value)}: must be {allowed}")
    for key in block.keys() - known:
        _refuse_slip(f"{path}: daemon", key)
    for key in ("include", "exclude"):
        _check_patterns(f"{path}: daemon.{key}", known.get(key, ()))
    for key in {"retry_delays_ms", "include", "exclude"} & known.keys():
        known[key] = tuple(known[key])
    config = Config(**known)
    if sum(config.delays_ms()) > _MAX_RETRYING_S * 1000:
        raise ConfigError(
            f"{path}: daemon.retry_delays_ms: {shown(known.get('retry_delays_ms'))}: "
            f"all {config.max_retries} retries together must wait {_MAX_RETRYING_S} s at most"
        )
    return config


def _refuse_slip(where: str, key: str) -> None:
    """Refuse a key that is nearly one of ours: unknown ones belong to other programs, but what was
    mistyped would count for nothing, silently."""
    # First what costs nothing: a file may have thousands of keys.
    few = [name for name in _RULES if name[0] == key[:1] and abs(len(name) - len(key)) < 5]
    near = [name for name in few if len({*name} ^ {*key}) <= 1]
    if not near:
        return
    from difflib import get_close_matches  # slow to import, and seldom needed

    if meant := get_close_matches(key, near, n=1, cutoff=0.85):
        raise ConfigError(f"{where}.{escape(key)}: no such key: did you mean {meant[0]!r}?")


def _is_number(value: object) -> bool:
    # No whole number is too large to be compared; isfinite() would overflow on some.
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_delays(value: object) -> bool:
    if not isinstance(value, list) or len(value) > 100:
        return False
    return all(_is_number(v) and 0 <= v <= 60_000 for v in value)


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_patterns(value: object) -> bool:
    if not isinstance(value, list) or len(value) > _MAX_PATTERNS:
        return False
    return all(isinstance(v, str) and len(v) <= _MAX_PATTERN_CHARS for v in value)


def _check_patterns(where: str, patterns: list[str]) -> None:
    for pattern in patterns:
        if problem := _problem(pattern):
            raise ConfigError(f"{where}: {shown(pattern)}: {problem}")


def _problem(pattern: str) -> str | None:
    """Why a pattern can match nothing in a project; None if it can."""
    from cidx_ref.globs import parse  # which a client needs for nothing else

    if pattern.startswith("!"):
        return "a pattern here is not negated: use the other one of include and exclude"
    if pattern.startswith("#"):
        return r"it is a comment: a name that begins so is written \#"
    if {".", ".."} & set(pattern.strip(" ").split("/")):
        return "it must name something below the project's root"
    try:
        parse(pattern)
    except ValueError as error:
        return f"it can match nothing: {error}"
    return "it can match nothing: no name has a zero byte" if "\0" in pattern else None


_DAY_S = 86_400
_ARE_PATTERNS = (
    f"a list of at most {_MAX_PATTERNS} patterns as in .gitignore, each a string of at most "
    f"{_MAX_PATTERN_CHARS} characters"
)

_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "enabled": ("true or false", lambda v: isinstance(v, bool)),
    "ttl_minutes": (
        "a number from 1/60 (a second) to 10080 (a week)",
        lambda v: _is_number(v) and 1 / 60 <= v <= 10_080,
    ),
    "auto_shutdown_on_idle": ("true or false", lambda v: isinstance(v, bool)),
    "eviction_check_interval_seconds": (
        f"a number from 0.1 to {_DAY_S} (a day)",
        lambda v: _is_number(v) and 0.1 <= v <= _DAY_S,
    ),
    "max_retries": ("a whole number from 0 to 100", lambda v: _is_whole(v, 0, 100)),
    "retry_delays_ms": ("a list of at most 100 numbers from 0 to 60000", _is_delays),
    "max_file_size_bytes": (
        "a whole number from 1 to 16777216 (16 MiB)",
        lambda v: _is_whole(v, 1, 1 << 24),
    ),
    "watch": ("true or false", lambda v: isinstance(v, bool)),
    "include": (_ARE_PATTERNS, _is_patterns),
    "exclude": (_ARE_PATTERNS, _is_patterns),
}
