"""The questions and the files that answer them: what they are, and whether they are well-formed.

They were written from documentation and names of features, before any result was seen.  They are
not to be changed to please the ranking.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = [
    "KINDS",
    "PARTS",
    "QUESTIONS",
    "SOURCES",
    "Question",
    "Repository",
    "faults",
    "repositories",
]

#: "does": what the code does; "built": how it is built; "name": a name, as one types it.
KINDS = ("does", "built", "name")
#: Of each language's two repositories one is for choosing, and the other for reporting only.
PARTS = ("choose", "report")
SOURCES = ("pypi", "npm", "debian")
QUESTIONS = Path(__file__).with_name("questions")
_LEAST = 4  # questions of each kind


@dataclass(frozen=True)
class Question:
    """`files` answer it best; `secondary` are right, too, and count alike."""

    kind: str
    text: str
    files: tuple[str, ...]
    secondary: tuple[str, ...]

    @property
    def wanted(self) -> frozenset[str]:
        return frozenset(self.files + self.secondary)


@dataclass(frozen=True)
class Repository:
    """One archive of a registry, pinned, and what is asked of it.

    Paths are those in the archive, without the one directory that all may lie in.
    """

    id: str
    language: str
    part: str
    source: str
    name: str
    version: str
    sha256: str
    archive: str
    questions: tuple[Question, ...]


def repositories(folder: Path = QUESTIONS) -> list[Repository]:
    """All of them, by language and part.  Raises `TypeError` or `KeyError` for a strange file."""
    found = [_repository(path) for path in folder.glob("*.toml")]
    return sorted(found, key=lambda one: (one.language, one.part))


def _repository(path: Path) -> Repository:
    document = tomllib.loads(path.read_text("utf-8"))
    questions = tuple(_question(**each) for each in document.pop("question"))
    if path.stem != f"{document['language']}-{document['id']}":
        raise KeyError(f"{path.name} is called otherwise than what it holds")
    return Repository(**document, questions=questions)


def _question(*, kind: str, text: str, files: list[str], secondary: list[str]) -> Question:
    return Question(kind, text, tuple(files), tuple(secondary))


def faults(repositories: Iterable[Repository]) -> list[str]:
    """What is wrong with them, a sentence each."""
    found: list[str] = []
    parts: defaultdict[str, list[str]] = defaultdict(list)
    ids: Counter[str] = Counter()
    for repository in repositories:
        parts[repository.language].append(repository.part)
        ids[repository.id] += 1
        wrong = [*_faults(repository), *_faults_of_all(repository.questions)]
        found += [f"{repository.id}: {fault}" for fault in wrong]
    found += [f"{name} is there {count} times" for name, count in ids.items() if count > 1]
    for language, held in parts.items():
        if sorted(held) != sorted(PARTS):
            found.append(f"{language} has the parts {sorted(held)}")
    return found


def _faults(repository: Repository) -> Iterator[str]:
    for value in (repository.id, repository.language, repository.name, repository.version):
        if not re.fullmatch(r"[\w.+~@/-]+", value) or value.startswith("-"):
            yield f"the text {value!r}"
    if repository.part not in PARTS or repository.source not in SOURCES:
        yield f"part {repository.part!r}, source {repository.source!r}"
    if not re.fullmatch("[0-9a-f]{64}", repository.sha256):
        yield f"sha256 {repository.sha256!r}"
    if not re.fullmatch(r"\w[\w.+~-]*\.(tgz|tar\.gz|tar\.xz|tar\.bz2)", repository.archive):
        yield f"archive {repository.archive!r}"


def _faults_of_all(questions: Sequence[Question]) -> Iterator[str]:
    kinds = Counter(question.kind for question in questions)
    if any(kinds[kind] < _LEAST for kind in KINDS) or set(kinds) - set(KINDS):
        yield f"has the kinds {dict(kinds)}"
    if len({question.text for question in questions}) < len(questions):
        yield "asks the same twice"
    for question in questions:
        yield from (f"{question.text!r}: {fault}" for fault in _faults_of(question))


def _faults_of(question: Question) -> Iterator[str]:
    if not 1 <= len(question.files) <= 4 or len(question.secondary) > 5:
        yield "too few or too many files"
    if len(question.wanted) < len(question.files + question.secondary):
        yield "a file is named twice"
    for path in question.wanted:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or str(pure) != path:
            yield f"path {path!r}"
    words = len(question.text.split())
    if question.text != " ".join(question.text.split()) or not words:
        yield "strange spaces"
    if words > 3 if question.kind == "name" else not 3 <= words <= 14:
        yield f"{words} words"
