"""Which of the paths that were found belong to the index: the rules, in their order.

`exclude` beats `.cidxignore`, which beats `include`, which beats the defaults (`defaults`, and
`.gitattributes`); docs/what-is-indexed.md has them for users.  A folder is written "" or "folder/".
What only a file's text can tell is the matter of `generated`.
"""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from cidx_ref.index import attributes
from cidx_ref.index.checkouts import Candidates, Rules
from cidx_ref.index.defaults import (
    DEPENDENCIES,
    GENERATED,
    MARKERS,
    MARKING_FOLDER,
    MINIFIED,
    is_ordinary,
    may_be_left_out,
    why_file,
    why_folder,
)
from cidx_ref.index.folders import Folders
from cidx_ref.index.matching import Folder, PathSet
from cidx_ref.index.ownignores import OwnIgnores, as_bytes
from cidx_ref.index.walk import MAX_PATTERNS_BYTES, Patience, RuleFiles
from cidx_ref.project import DIRECTORY
from cidx_ref.runtime import Runtime
from cidx_ref.shown import shown

__all__ = ["EXCLUDED", "IGNORED", "Belonging", "Rules", "judge"]

EXCLUDED = "excluded by config.json"
IGNORED = "excluded by .cidxignore"

_IGNORE_FILE, _ATTRIBUTES_FILE = ".cidxignore", ".gitattributes"
_MAX_NOTES = 20
# Each folder on the way to a file is looked at.  No tree that people made is so deep, but the paths
# in an index are anybody's: a megabyte of deep ones would be gigabytes of folders.
_DEEP = 64
_MAX_DEEP_CHARS = 1 << 25  # of the folders on the way to those that are deeper, together
_SPEAKING = MARKERS | {_IGNORE_FILE, _ATTRIBUTES_FILE}
_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
#: What the text of a file that was asked for does not leave out.
_ASKED_FOR = frozenset((GENERATED, MINIFIED))
_HAND_WRITTEN = frozenset((GENERATED,))


@dataclass(slots=True)
class Belonging:
    """The `paths` that belong, and why the others do not: a folder that is left out as a whole is
    one entry, which ends in "/".  `exempt`: by path, the reasons that its text does not give."""

    paths: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    exempt: dict[str, frozenset[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def judge(root: Path, found: Candidates, rules: Rules, runtime: Runtime) -> Belonging:
    """What of `found` belongs to the index of `root`.  Raises nothing for what lies there."""
    with suppress(FileNotFoundError, NotADirectoryError), closing(Folders(root)) as folders:
        return _Judge(found, rules, folders, runtime).judge()
    return Belonging()


class _Listed:
    """What is listed, as `defaults` asks about it."""

    def __init__(self, found: Candidates, folders: Folders) -> None:
        self.by_folder: dict[str, list[str]] = {}
        by_folder = self.by_folder
        last, names = "", by_folder.setdefault("", [])
        for path in chain(found.tracked, found.others):
            cut = path.rfind("/") + 1
            folder = path[:cut]
            if folder != last:  # most follow one of the same folder
                last, names = folder, by_folder.setdefault(folder, [])
            names.append(path[cut:])
        # Of a project inside, too: it changes with each of its runs.
        for folder in [folder for folder in by_folder if f"/{DIRECTORY}/" in f"/{folder}"]:
            del by_folder[folder]
        for names in by_folder.values():
            if DIRECTORY in names:
                names.remove(DIRECTORY)
        self.too_deep = 0
        self._room = _MAX_DEEP_CHARS
        for folder in [folder for folder in by_folder if not self.has_room(folder)]:
            del by_folder[folder]
        #: Folders in which a file speaks of the folder itself, or of what is in it.
        self.speaking = {f for f, names in by_folder.items() if not _SPEAKING.isdisjoint(names)}
        marking = (f for f in by_folder if f.endswith("/" + MARKING_FOLDER))
        self.speaking.update(f[: -len(MARKING_FOLDER)] for f in marking)
        self._folders = folders
        self._tracked = found.tracked
        self._is_sorted = False
        self._sets: dict[str, frozenset[str]] = {}  # the names in a folder
        self._with_checksums: set[str] | None = None

    def has_room(self, folder: str) -> bool:
        """Whether the folders on the way to `folder` may be looked at; told once for each."""
        depth = folder.count("/")
        if depth > _DEEP:
            self._room -= len(folder) * depth // 2
            self.too_deep += self._room < 0
        return depth <= _DEEP or self._room >= 0

    def holds(self, path: str) -> bool:
        if path[-1:] == "/":
            return path in self.by_folder
        cut = path.rfind("/") + 1
        if path[:cut] not in self._sets:
            self._sets[path[:cut]] = frozenset(self.by_folder.get(path[:cut], ()))
        return path[cut:] in self._sets[path[:cut]]

    def names(self, folder: str) -> Iterable[str]:
        return self.by_folder.get(folder, ())

    def is_tracked(self, folder: str) -> bool:
        if not self._is_sorted:  # which git's own order nearly is
            self._tracked.sort()
            self._is_sorted = True
        place = bisect_left(self._tracked, folder)
        return place < len(self._tracked) and self._tracked[place].startswith(folder)

    def is_cache(self, folder: str) -> bool:
        if not self.holds(f"{folder}CACHEDIR.TAG"):
            return False
        with suppress(OSError):
            data = self._folders.read(folder, "CACHEDIR.TAG", len(_SIGNATURE)) or b""
            return data.startswith(_SIGNATURE)
        return False

    def has_checksums(self, folder: str) -> bool:
        if self._with_checksums is None:
            holding = [f for f, names in self.by_folder.items() if ".cargo-checksum.json" in names]
            self._with_checksums = {f[: f[:-1].rfind("/") + 1] for f in holding}
        return folder in self._with_checksums


class _Place:
    """A folder, and what the rules say of it; plain ones in a plain one share its place."""

    __slots__ = (
        "above", "attributes", "entry", "exclude", "has_kept", "ignores", "include",
        "is_asked_for", "is_below_left", "is_final", "is_plain", "path", "reason",
    )  # fmt: skip

    above: _Place | None
    path: str
    reason: str | None  # why it is left out, if it is
    is_final: bool  # nothing in it can be brought back
    is_asked_for: bool  # `include` has it, with all that is in it
    is_below_left: bool  # a folder above it is left out, so it was brought back
    has_kept: bool  # something in it is kept; noted of what is left out only
    is_plain: bool  # no pattern has a say in it
    entry: _Place | None  # what is named for it: itself, or a folder above it
    exclude: Folder
    include: Folder
    ignores: tuple[OwnIgnores, ...]
    attributes: dict[str, RuleFiles]


class _Judge:
    def __init__(self, found: Candidates, rules: Rules, folders: Folders, runtime: Runtime) -> None:
        self._found = found
        self._folders = folders
        self._listed = _Listed(found, folders)
        self._patience = Patience(runtime)
        self._result = Belonging()
        self._left: list[tuple[_Place, str, str]] = []  # with the path and the reason
        self._places: dict[str, _Place] = {}
        self._in_order: list[_Place] = []  # each after those above it
        self._add_root(rules)

    def judge(self) -> Belonging:
        for folder, names in self._listed.by_folder.items():
            place = self._place(folder)
            if place.is_plain and not may_be_left_out(names):
                self._result.paths += [folder + name for name in names]
            elif not self._is_out(place):
                for name in names:
                    self._judge_file(place, folder + name, name)
        for folder, reason in self._found.left.items():
            if not self._listed.has_room(folder):
                continue
            self._left.append((self._place(folder), folder, reason))
        self._name_what_is_left()
        result = self._result
        result.notes = result.notes[:_MAX_NOTES]
        if self._listed.too_deep:
            result.notes.append(
                f"{self._listed.too_deep} folders were left out, being more than {_DEEP} levels "
                "deep, and too many such: remove them, or search in one of them"
            )
        result.notes += self._patience.notes(f"{_IGNORE_FILE} and {_ATTRIBUTES_FILE}")
        return result

    # Folders.

    def _add_root(self, rules: Rules) -> None:
        root = _Place()
        root.above, root.path, root.reason, root.entry = None, "", None, None
        root.is_final = root.is_asked_for = root.is_below_left = root.has_kept = False
        root.exclude = PathSet(rules.exclude).top()
        root.include = PathSet(rules.include).top()
        root.ignores, root.attributes = (), {}
        self._read_rules(root)
        root.is_plain = self._is_plain(root)
        self._places[""] = root
        self._in_order.append(root)

    def _place(self, folder: str) -> _Place:
        """The place of `folder`, made with those above it, or the nearest that says all of it."""
        missing = []
        while folder not in self._places:
            missing.append(folder)
            folder = folder[: folder[:-1].rfind("/") + 1]
        place = self._places[folder]
        for below in reversed(missing):
            if place.is_final:
                pass
            elif not place.is_plain or not self._is_ordinary(below):
                place = self._make(place, below)
                self._in_order.append(place)
            self._places[below] = place
        return place

    def _is_ordinary(self, folder: str) -> bool:
        """Whether there is nothing to say of it that is not said of a plain one above it."""
        name = folder[folder[:-1].rfind("/") + 1 : -1]
        is_left = folder in self._found.left  # and needs a place of its own
        return folder not in self._listed.speaking and not is_left and is_ordinary(name)

    def _make(self, above: _Place, folder: str) -> _Place:
        cut = folder[:-1].rfind("/") + 1
        name = folder[cut:-1]
        place = _Place()
        place.above, place.path, place.reason, place.entry = above, folder, above.reason, None
        place.is_final = place.has_kept = False
        place.is_below_left = above.reason is not None or above.is_below_left
        place.ignores, place.attributes = above.ignores, above.attributes
        place.exclude, place.include = above.exclude[name], above.include[name]
        is_included = place.include.is_whole
        if folder in self._found.checkouts:  # to name it brings back itself, and not what is in it
            place.include = above.include.pass_by(folder[:-1])
        place.is_asked_for = place.include.is_whole
        verdict = self._verdict(place, folder[:-1], is_folder=True)
        if place.exclude.is_whole:
            place.reason, place.is_final = EXCLUDED, True
        elif verdict:
            place.reason, place.is_final = IGNORED, True
        elif is_included or (verdict is False and self._asks(place, folder[:-1], is_folder=True)):
            place.reason = None
        elif place.reason is None:
            place.reason = why_folder(folder[:cut], name, self._listed)
        if place.reason is None:
            self._read_rules(place)
        place.is_plain = self._is_plain(place)
        return place

    def _read_rules(self, place: _Place) -> None:
        names = self._listed.by_folder.get(place.path, ())
        # The root's counts also where git ignores it, and so does not list it.
        if _IGNORE_FILE in names or not place.path:
            text = self._read(place.path, _IGNORE_FILE)
            if text:
                place.ignores = (OwnIgnores(place.path, text), *place.ignores)
        if _ATTRIBUTES_FILE in names:
            text = self._read(place.path, _ATTRIBUTES_FILE)
            if number := attributes.overlong_line(text):
                self._say(
                    place.path + _ATTRIBUTES_FILE,
                    f"is not read where its lines are too long: line {number} is longer than "
                    "2047 bytes; shorten it",
                )
            is_top = not place.path or place.path in self._found.checkouts
            read = attributes.rules_of(text, is_top=is_top)
            known = place.attributes
            place.attributes = known | {
                name: ((place.path, rules), *known.get(name, ())) for name, rules in read.items()
            }

    def _say(self, path: str, problem: str) -> None:
        self._result.notes.append(f"{shown(path)} {problem}")

    def _read(self, folder: str, name: str) -> str:
        """The patterns in a file, with a character for each byte; what there is to say is said."""
        if self._patience.is_over:
            return ""
        problem, data = "", b""
        try:
            read = self._folders.read(folder, name, MAX_PATTERNS_BYTES)
            problem, data = "" if read is not None else "is no regular file", read or b""
            if len(data) > MAX_PATTERNS_BYTES:
                problem = f"is larger than {MAX_PATTERNS_BYTES} bytes, and its end was not read"
                data = data[: data.rfind(b"\n", 0, MAX_PATTERNS_BYTES) + 1]
        except FileNotFoundError:
            pass
        except OSError as error:
            is_link = error.errno == errno.ELOOP
            problem = "is a symbolic link, and is not followed" if is_link else "cannot be read"
        if problem:
            self._say(folder + name, f"{problem}; make it a file of patterns")
        return as_bytes(data) if name == _IGNORE_FILE else data.decode("latin-1")

    def _is_plain(self, place: _Place) -> bool:
        """Whether it is in, and no pattern can speak of anything in it."""
        return (
            place.reason is None
            and not (place.ignores or place.attributes or place.is_asked_for)
            and place.exclude.is_beside
            and place.include.is_beside
            and not place.is_below_left
        )

    def _is_out(self, place: _Place) -> bool:
        """Whether all of its files are left out, for its own reason."""
        return place.reason is not None and (
            place.is_final or (place.include.is_beside and not place.ignores)
        )

    # Files.

    def _judge_file(self, place: _Place, path: str, name: str) -> None:
        reason, is_asked_for = self._why_patterns(place, path, name)
        if reason is None and not is_asked_for:
            reason = place.reason or self._why_default(place, path, name)
        if reason is not None:
            self._left.append((place, path, reason))
            return
        if is_asked_for:
            self._result.exempt[path] = _ASKED_FOR
        self._result.paths.append(path)
        kept = place if place.reason is not None or place.is_below_left else None
        while kept is not None and not kept.has_kept:
            kept.has_kept = True
            kept = kept.above

    def _why_patterns(self, place: _Place, path: str, name: str) -> tuple[str | None, bool]:
        """Why patterns leave the file out, and whether they ask for it."""
        if place.exclude.holds(name):
            return EXCLUDED, False
        verdict = self._verdict(place, path, is_folder=False)
        if verdict:
            return IGNORED, False
        if place.is_asked_for or place.include.holds(name):
            return None, True
        return None, verdict is False and self._asks(place, path, is_folder=False)

    def _verdict(self, place: _Place, path: str, *, is_folder: bool) -> bool | None:
        """Whether a `.cidxignore` leaves it out, or says that it does not."""
        if not place.ignores:
            return None
        rules = tuple((ignores.folder, ignores.rules) for ignores in place.ignores)
        return self._patience.verdict(path, is_folder, rules)

    def _asks(self, place: _Place, path: str, *, is_folder: bool) -> bool:
        """Whether a `.cidxignore` that does not leave it out asks for it, against the defaults."""
        is_inside = place.reason is not None
        rules = tuple((ignores.folder, ignores.asking(is_inside)) for ignores in place.ignores)
        return self._patience.verdict(path, is_folder, rules) is False

    def _why_default(self, place: _Place, path: str, name: str) -> str | None:
        reason = why_file(name)
        if self._has(place, path, attributes.VENDORED):
            return DEPENDENCIES
        generated = self._has(place, path, attributes.GENERATED)
        if not generated and self._has(place, path, attributes.NOT_GENERATED):
            self._result.exempt[path] = _HAND_WRITTEN
            return None if reason == GENERATED else reason
        return GENERATED if generated and reason is None else reason

    def _has(self, place: _Place, path: str, attribute: str) -> bool:
        rules = place.attributes.get(attribute)
        return rules is not None and bool(self._patience.verdict(path, False, rules))

    # What is said of the rest.

    def _name_what_is_left(self) -> None:
        for place in self._in_order:
            above = place.above
            if above is not None and above.entry is not None:
                place.entry = above.entry
            elif place.reason is not None and not place.has_kept:
                place.entry = place
                self._result.skipped[place.path] = place.reason
        for place, path, reason in self._left:
            if place.entry is None:
                self._result.skipped[path] = reason
