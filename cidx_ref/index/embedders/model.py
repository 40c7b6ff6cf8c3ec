"""A model in a directory of the user's: its files, what they are called by, and its tokenizer.

`CIDX_REF_MODEL` names the directory.  Nothing is fetched.  An embedder has its id from the content
of the files that it reads, and from the modules that read them: another model, and another way to
compute, is another id, and so another index.  The files are read twice: to have the id, when the
embedder is made, and to be kept, when it is first asked; an idle daemon holds no model.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

from cidx_ref.errors import ConfigError, EmbedderError
from cidx_ref.index.embedders.tensors import Tensors
from cidx_ref.index.recipe import rules_of
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import shown, why

__all__ = [
    "CONFIG", "MODEL", "TENSORS", "TOKENIZER", "Lazily", "ModelFiles", "Tokens", "listed",
    "named_directory", "parsed", "tensors_of", "whole",
]  # fmt: skip

T = TypeVar("T")

MODEL = "CIDX_REF_MODEL"
TENSORS, TOKENIZER, CONFIG = "model.safetensors", "tokenizer.json", "config.json"
_MAX_BYTES = {TENSORS: 1 << 32, TOKENIZER: 1 << 26}
_MAX_CONFIG_BYTES = 1 << 20
#: Characters of a text: more than any model here reads, and few enough to be cut in no time.
_MAX_CHARS = 20_000
_READERS = ("embedders/model.py", "embedders/tensors.py")


def named_directory() -> Path:
    """The directory that the environment names.  Raises `ConfigError`."""
    named = os.environ.get(MODEL, "")
    if not named:
        raise ConfigError(f"{MODEL} must name the directory of a model")
    path = Path(named).expanduser()
    if not path.is_absolute():  # the daemon has another working directory
        raise ConfigError(f"{MODEL}: {shown(named)}: must be an absolute path, or begin with ~/")
    return path


class ModelFiles:
    """The files of a model, as they were when this was made."""

    def __init__(
        self,
        directory: Path,
        optional: Iterable[str],
        dim: Callable[[Mapping[str, bytes]], int],
    ) -> None:
        """`optional` are the files that need not be there, and `dim` finds the length of a vector
        in all of them, or raises `ValueError`.  Raises `ConfigError`."""
        self._directory = directory
        self._names = (TENSORS, TOKENIZER, *optional)
        try:
            found = self._read()
            self.dim = dim(found)
            self._digest = _digest(found)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{MODEL}: {why(error)}") from None
        _require_tokenizers()

    def id(self, kind: str) -> str:
        """The id of an embedder of these files that the module `kind` has."""
        rules = rules_of((*_READERS, f"embedders/{kind}.py"))
        digest = sha256(f"{self._digest} {rules}".encode()).hexdigest()
        return f"{kind}-{self.dim}-{digest[:16]}"

    def read(self) -> dict[str, bytes]:
        """What is in them, by name.  Raises `EmbedderError` if that is not what it was."""
        try:
            found = self._read()
        except (OSError, ValueError):
            found = {}
        if _digest(found) != self._digest:
            raise EmbedderError(f"the files of {MODEL} have changed: stop the daemon, and index")
        return found

    def _read(self) -> dict[str, bytes]:
        found = {}
        for name in self._names:
            try:
                limit = _MAX_BYTES.get(name, _MAX_CONFIG_BYTES)
                found[name] = _content(self._directory / name, limit)
            except (FileNotFoundError, NotADirectoryError):
                if name in _MAX_BYTES:
                    raise
        return found


class Lazily(Generic[T]):
    """What is built of the files of a model when it is first asked for: once.  Thread-safe."""

    def __init__(
        self,
        files: ModelFiles,
        build: Callable[[Mapping[str, bytes]], T],
        runtime: Runtime = SYSTEM,
    ) -> None:
        self._files = files
        self._build = build
        self._loading = runtime.lock("model")
        self._found: T | None = None

    def get(self) -> T:
        """Raises `EmbedderError` if there is no such thing in the files."""
        with self._loading:
            if self._found is None:
                try:
                    self._found = self._build(self._files.read())
                except ValueError as error:  # of ours: it names a file, and no directory
                    raise EmbedderError(f"the model cannot be used: {error}") from None
            return self._found


class Tokens:
    """Cuts texts into the tokens of a model.  Thread-safe."""

    def __init__(self, description: bytes, most: int) -> None:
        """At most `most` tokens of a text count.  Raises `ValueError`."""
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(description.decode("utf-8"))
        except Exception:  # which is all that it raises, whatever it is
            raise ValueError(f"{TOKENIZER}: not a tokenizer") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(most)

    def of(self, text: str, *, special: bool) -> list[int]:
        """The tokens of `text`, with those that a model has at both ends if `special`."""
        # What is no character, half a surrogate pair, the tokenizer would raise for.
        plain = text[:_MAX_CHARS].encode("utf-8", "replace").decode("utf-8")
        # One text at a time: for a batch it starts threads, which do not survive a fork.
        found: list[int] = self._tokenizer.encode(plain, add_special_tokens=special).ids
        return found

    def id_of(self, token: str | None) -> int | None:
        found: int | None = None if token is None else self._tokenizer.token_to_id(token)
        return found


def parsed(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """A file of JSON that holds an object; an empty one where there is no file."""
    found = _json(files, name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name}: not an object")
    return found


def listed(files: Mapping[str, bytes], name: str) -> list[Any]:
    """A file of JSON that holds a list; an empty one where there is no file."""
    found = _json(files, name, [])
    if not isinstance(found, list):
        raise ValueError(f"{name}: not a list")
    return found


def whole(config: Mapping[str, Any], name: str, most: int, default: int | None = None) -> int:
    """A whole number of a configuration, from 1 to `most`."""
    value = config.get(name, default)
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name}: {shown(value)}: must be a whole number from 1 to {most}")
    return value


def _json(files: Mapping[str, bytes], name: str, default: Any) -> Any:
    try:
        return json.loads(files[name]) if name in files else default
    except (ValueError, RecursionError):
        raise ValueError(f"{name}: not JSON") from None


def tensors_of(files: Mapping[str, bytes]) -> Tensors:
    try:
        return Tensors(files[TENSORS])
    except ValueError as error:
        raise ValueError(f"{TENSORS}: {error}") from None


def _content(path: Path, most: int) -> bytes:
    # Links are followed: the user has named the directory.  O_NONBLOCK: of a FIFO, too.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path}: not a regular file")
        if found.st_size > most:
            raise ValueError(f"{path}: larger than {most} bytes")
        with open(fd, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(fd)


def _digest(files: Mapping[str, bytes]) -> str:
    digest = sha256()
    for name, data in files.items():
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def _require_tokenizers() -> None:
    from importlib.util import find_spec

    if find_spec("tokenizers") is None:
        raise ConfigError("the package tokenizers is missing: pip install 'cidx-ref[model]'")
