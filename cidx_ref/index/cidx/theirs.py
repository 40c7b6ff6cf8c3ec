"""The full cidx's index of a project, as the daemon's port has it: read where it lies.

It is used if the user has adopted it: it may have come with a clone.  What is published there is a
new generation, which is checked before it is loaded; what was checked is kept (`keeping`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cidx_ref.errors import (
    CidxError,
    GenerationGone,
    IndexUnusableError,
    NoIndexError,
    UntrustedError,
)
from cidx_ref.files import Directory
from cidx_ref.index.cidx import tree
from cidx_ref.index.cidx.checking import Check, check_apart
from cidx_ref.index.cidx.keeping import Keeping
from cidx_ref.index.cidx.looks import Looks
from cidx_ref.index.cidx.meta import DamagedError, TornError
from cidx_ref.index.cidx.said import model_of, problems_of
from cidx_ref.index.embed import Embedder
from cidx_ref.index.port import ENGINES
from cidx_ref.index.stale import Staleness
from cidx_ref.keys import Key
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import why

if TYPE_CHECKING:
    from cidx_ref.index.cidx.snapshot import TheirSnapshot

__all__ = ["HINT", "TheirIndex"]

#: What to type, where one lies there that was not adopted.
HINT = "an index of the full cidx lies here: `cidx-ref adopt` takes it, after checking it"
_NONE = "there is no index of the full cidx here: run `cidx-ref index`, which makes one of ours"
#: So often, and for so long, two files that do not fit are looked at again.
_TRIES, _PAUSE_S = 20, 0.05


class TheirIndex:
    """The full cidx's index of the project at `root`, searched with `embedder`."""

    def __init__(
        self,
        root: Path,
        embedder: Embedder,
        key: Key,
        runtime: Runtime = SYSTEM,
        *,
        check: Check = check_apart,
    ) -> None:
        self._root = root
        self._embedder = embedder
        self._runtime = runtime
        self._check = check
        self._keeping = Keeping(root, key, runtime)
        self._staleness = Staleness(root, runtime)
        self._model = model_of(embedder)
        self._looks = Looks(root, self._model, runtime)

    @property
    def is_adopted(self) -> bool:
        return self._keeping.is_adopted

    def lies_here(self) -> bool:
        """Whether there is one, adopted or not."""
        try:
            found = self._look()
            return found is not None and bool(found.files)
        except (OSError, UntrustedError):
            return False

    def current(self) -> str:
        if not self._keeping.is_adopted:
            raise NoIndexError(HINT if self.lies_here() else _NONE)
        return self._found().generation

    def load(self, generation: str) -> TheirSnapshot:
        """Raises `GenerationGone`, `NoIndexError` or `IndexUnusableError`."""
        found = self._found()
        if found.generation != generation:
            raise GenerationGone(generation)
        record = self._keeping.record(generation)
        try:
            # What may pass has not been found out for good.
            if record is not None and not record["passing"]:
                return self._loaded(found, record)
        except GenerationGone:
            # Of files that the generation is not called by, one was changed in its place.
            if self._found() != found:
                raise
        seen, record = self._made(found)
        self._keeping.sweep(seen.generation)
        if seen.generation != generation:
            raise GenerationGone(generation)
        return self._loaded(found, record)

    def _loaded(self, found: tree.Tree, record: dict[str, Any]) -> TheirSnapshot:
        from cidx_ref.index.cidx.catalogue import Catalogue
        from cidx_ref.index.cidx.snapshot import TheirSnapshot

        generation = found.generation
        try:
            with self._keeping.catalogue(generation) as directory:
                catalogue = Catalogue(directory, record)
        except OSError as error:
            raise IndexUnusableError(f"what was checked cannot be read: {why(error)}") from None
        return TheirSnapshot(
            self._root, found, catalogue, self._embedder, self._staleness, self._runtime
        )

    def adopt(self) -> dict[str, Any]:
        """Check what lies there, and take it from now on, if an engine can answer from it; what it
        holds.

        Raises `NoIndexError`, `IndexUnusableError`, `UntrustedError`.
        """
        found, record = self._settled()
        problems = problems_of(found, record, self._embedder)
        if problems.keys() >= set(ENGINES):
            raise IndexUnusableError(
                f"neither engine could answer from it: {'; '.join(problems.values())}"
            )
        try:
            self._keeping.adopt(found.watched)
        except OSError as error:
            raise IndexUnusableError(f"it cannot be noted: {why(error)}") from None
        self._keeping.sweep(found.generation)
        return {
            "generation": found.generation,
            "files": record["files"],
            "chunks": record["chunks"],
            "collection": found.collection,
            "other_collections": list(found.others),
            "vectors": record["points"],
            "documents": record["documents"],
            "left_out": record["left_out"],
            "missing_files": record["missing_files"],
            "problems": problems,
        }

    def describe(self) -> dict[str, Any]:
        """What a status says of it, as plain data; cheap, and raises nothing."""
        try:
            found = self._look()
        except (OSError, UntrustedError) as error:
            return {"adopted": self.is_adopted, "problem": why(error)}
        if found is None:
            return {}
        if not found.files:
            return {"adopted": self.is_adopted, "problem": "; ".join(found.refused.values())}
        made = datetime.fromtimestamp(found.newest_ns / 1e9)
        age = (self._runtime.now() - made).total_seconds()
        said: dict[str, Any] = {
            "adopted": self.is_adopted,
            "generation": found.generation,
            "age_seconds": round(age, 3),
            "model": found.collection,
        }
        record = self._keeping.record(found.generation)
        if record is None:
            return said
        return {
            **said,
            "files": record["files"],
            "chunks": record["chunks"],
            "left_out": record["left_out"],
            "stale": record["is_stale"],
            "missing_files": record["missing_files"],
            "problems": problems_of(found, record, self._embedder),
        }

    def _settled(self) -> tuple[tree.Tree, dict[str, Any]]:
        """What lies there, and its record: of what is replaced meanwhile, the next one's."""
        for _ in range(_TRIES):
            with suppress(GenerationGone):
                return self._made(self._found())
        raise IndexUnusableError("the full cidx's index changes all the time: try again later")

    def _look(self) -> tree.Tree | None:
        return self._looks.look(self._keeping.watched)

    def _found(self) -> tree.Tree:
        try:
            found = self._look()
        except (OSError, UntrustedError) as error:
            raise IndexUnusableError(f"the full cidx's index: {why(error)}") from None
        if found is None:
            raise NoIndexError(_NONE)
        return found

    def _made(self, found: tree.Tree) -> tuple[tree.Tree, dict[str, Any]]:
        """Check what was found; what it is with all that the outcome hangs on, and its record.  Two
        files that do not fit are read again: one of them may be about to be replaced."""
        try:
            return self._checked(found, is_last=False)
        except TornError:
            for _ in range(_TRIES):
                self._runtime.sleep(_PAUSE_S)
                if self._look() != found:
                    raise GenerationGone(found.generation) from None
        return self._checked(found, is_last=True)

    def _checked(self, found: tree.Tree, *, is_last: bool) -> tuple[tree.Tree, dict[str, Any]]:
        seen = found

        def check(above: Directory, name: str) -> dict[str, Any]:
            nonlocal seen
            job = tree.Job(self._root, found, self._model, above, name, is_last)
            record = self._check(job, self._runtime)
            watched = {path: tree.as_signature(each) for path, each in record["watched"].items()}
            seen = replace(found, watched=watched)
            return {**record, "generation": seen.generation}

        try:
            record = self._keeping.make(check)
            self._keeping.watch(seen.watched)
            return seen, record
        except TornError:
            raise
        except CidxError:
            raise
        except (DamagedError, OSError) as error:
            raise IndexUnusableError(f"the full cidx's index: {why(error)}") from None
