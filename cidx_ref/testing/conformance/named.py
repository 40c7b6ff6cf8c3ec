"""Targets, and mutants of them, by the names that users type: `module:NAME`, `path/file.py:NAME`.

Here belongs what is said of a name that leads to nothing, or to what cannot be judged: one line,
before anything is started.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from stat import S_ISSOCK
from traceback import extract_tb
from types import ModuleType
from typing import Any

from cidx_ref.testing.conformance.target import Attach, Target, TargetError, words
from cidx_ref.testing.promises.reading import why_unreadable

__all__ = ["UnusableError", "check_target", "module_named", "target_named"]


_KIT = str(Path(__file__).parent)


class UnusableError(ValueError):
    """What is named cannot be used; the message says what, and why, on one line."""


def target_named(text: str) -> Target:
    """The target at `module:NAME`.  Raises `UnusableError`."""
    module, colon, name = text.rpartition(":")
    if not colon or not module or not name:
        raise UnusableError(f"{text}: a target is named as module:NAME or path/to/file.py:NAME")
    value: Any = module_named(module)
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise UnusableError(f"{text}: {module} has no {name!r}") from None
        except Exception as error:  # a property, or what a module makes when it is asked
            raise UnusableError(f"{text}: {_words(error)}") from None
    if not isinstance(value, Target):
        raise UnusableError(f"{text}: not a Target, but {_kind(value)}")
    check_target(value, text)
    return value


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def module_named(name: str) -> ModuleType:
    """The module of that name, also from the working directory; or the one in that file.

    The working directory is in the search path from then on, because its user asked for what is in
    it.  Raises `UnusableError`.
    """
    _look_here()
    path = Path(name)
    is_file = name.endswith(".py") or "/" in name
    if is_file and (why := why_unreadable(path)):
        raise UnusableError(f"{name}: {why}")
    try:
        return _from_file(path) if is_file else import_module(name)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise UnusableError(f"{name}: no such module, here or installed") from None
        raise UnusableError(f"{name}: cannot be imported: {_words(error)}") from None
    except TargetError as error:
        raise UnusableError(f"{name}: {error}{_where(error)}") from None
    except BaseException as error:  # whatever is raised, `SystemExit` too
        raise UnusableError(f"{name}: cannot be imported: {_words(error)}") from None


def _look_here() -> None:
    try:
        here = str(Path.cwd())
    except OSError as error:
        raise UnusableError(f"the working directory: {error.strerror}") from None
    if here not in sys.path:
        sys.path.insert(0, here)


def _from_file(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UnusableError(f"{path}: not a Python file")
    directory = str(path.resolve().parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)  # as `python path/to/file.py` does
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _words(error: BaseException) -> str:
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return said if isinstance(error, SyntaxError) else f"{said}{_where(error)}"


def _where(error: BaseException) -> str:
    """Where in its user's code; nothing where it did not come to any."""
    frames = [
        frame
        for frame in extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and not frame.filename.startswith((_KIT, "<"))
    ]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def check_target(target: Target, name: str) -> None:
    """See that what a target names is there.  Raises `UnusableError`."""
    if isinstance(target.start, Attach):
        _check_attached(target.start, f"{name}: Attach")
    else:
        _check_command(target.start.command, f"{name}: Spawn")
    given = {"writer": target.writer, "launcher": target.launcher}
    if faults := target.faults:
        for field in ("crash", "terminate", "crash_writer", "hold", "fail"):
            given[f"faults: {field}"] = getattr(faults, field)
    for field, command in given.items():
        if command:
            _check_command(command, f"{name}: {field}")


def _check_attached(start: Attach, where: str) -> None:
    if start.address.startswith("tcp://"):
        return  # at another host, perhaps, as its project is
    path = Path(start.address.removeprefix("unix://"))
    with suppress(OSError):  # whether there is one is for the checks
        if not S_ISSOCK(path.stat().st_mode):
            raise UnusableError(f"{where}: {path}: not a socket")
    with suppress(OSError):
        if Path(start.project).is_dir():
            return
    raise UnusableError(f"{where}: project: {start.project}: no such directory")


def _check_command(command: str | Sequence[str], where: str) -> None:
    program = words(command)[0].replace("{python}", sys.executable)
    if "{project}" not in program and shutil.which(program) is None:
        raise UnusableError(f"{where}: command not found: {program}")
