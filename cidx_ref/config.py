"""`.code-indexer/config.json`: the story's `daemon` block, read and checked, or made anew.

The rest of the file belongs to other programs and is never dropped or rewritten (CFG-1).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cidx_ref.errors import ConfigError
from cidx_ref.project import Project

__all__ = ["Config"]


@dataclass(frozen=True, slots=True)
class Config:
    """The `daemon` block.  Names, meanings and defaults are the story's; the last is ours."""

    enabled: bool = True
    ttl_minutes: float = 10
    auto_shutdown_on_idle: bool = True
    eviction_check_interval_seconds: float = 60
    max_retries: int = 4
    retry_delays_ms: tuple[float, ...] = (100, 500, 1000, 2000)
    max_file_size_bytes: int = 1_048_576

    @property
    def ttl_s(self) -> float:
        return self.ttl_minutes * 60

    @classmethod
    def load(cls, path: Path) -> Config:
        """The checked contents of `path`; the defaults where there is no such file.

        Raises `ConfigError`, naming file, key, value and what is allowed.
        """
        document = _read(path)
        block = document.get("daemon", {})
        if not isinstance(block, dict):
            raise ConfigError(f"{path}: daemon: {block!r}: must be an object")
        known = {field.name: block[field.name] for field in fields(cls) if field.name in block}
        for key, value in known.items():
            allowed, accepts = _RULES[key]
            if not accepts(value):
                raise ConfigError(f"{path}: daemon.{key}: {value!r}: must be {allowed}")
        if "retry_delays_ms" in known:
            known["retry_delays_ms"] = tuple(known["retry_delays_ms"])
        return cls(**known)

    @classmethod
    def init(cls, project: Project, **changes: Any) -> Config:
        """Write the story's `daemon` block into the project's file, with `changes` to it.

        What the file holds already stays: other programs' keys, and our own that `changes` does
        not name.  Raises `ConfigError` for a bad value, and then writes nothing.
        """
        document = _read(project.config_path)
        old = document.get("daemon", {})
        if not isinstance(old, dict):
            raise ConfigError(f"{project.config_path}: daemon: {old!r}: must be an object")
        project.create_directory()
        defaults = asdict(cls())
        del defaults["max_file_size_bytes"]  # ours, and not the story's
        document["daemon"] = {**defaults, **old, **changes}
        return _replace(project.config_path, json.dumps(document, indent=2) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise ConfigError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold a JSON object, not {type(document).__name__}")
    return document


def _replace(path: Path, text: str) -> Config:
    # Checked under a temporary name and renamed: a reader sees the old file or the new one, and
    # a bad value never gets so far.  A link stays one, and who may read the file stays the same.
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o7777)
        try:
            config = Config.load(temporary)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(temporary), str(path))) from None
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return config


def _is_number(value: object) -> bool:
    # No whole number is too large to be compared; isfinite() would overflow on some.
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_delays(value: object) -> bool:
    return isinstance(value, list) and all(_is_number(v) and 0 <= v <= 60_000 for v in value)


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


_DAY_S = 86_400

_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "enabled": ("true or false", lambda v: isinstance(v, bool)),
    "ttl_minutes": (
        "a number above 0, at most 10080 (a week)",
        lambda v: _is_number(v) and 0 < v <= 10_080,
    ),
    "auto_shutdown_on_idle": ("true or false", lambda v: isinstance(v, bool)),
    "eviction_check_interval_seconds": (
        f"a number above 0, at most {_DAY_S} (a day)",
        lambda v: _is_number(v) and 0 < v <= _DAY_S,
    ),
    "max_retries": ("a whole number from 0 to 100", lambda v: _is_whole(v, 0, 100)),
    "retry_delays_ms": ("a list of numbers from 0 to 60000", _is_delays),
    "max_file_size_bytes": (
        "a whole number from 1 to 1073741824 (1 GiB)",
        lambda v: _is_whole(v, 1, 1 << 30),
    ),
}
