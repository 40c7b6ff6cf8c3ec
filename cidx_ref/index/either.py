"""Ours if there is one, else the full cidx's, if the user has adopted it: both as one index.

Only ours is ever made and brought up to date; the other one is made elsewhere.
"""

from __future__ import annotations

from typing import Any

from cidx_ref.errors import CidxError, GenerationGone, NoIndexError
from cidx_ref.index.cidx.checking import Check, check_apart
from cidx_ref.index.cidx.theirs import HINT, TheirIndex
from cidx_ref.index.embed import Embedder
from cidx_ref.index.ours import OurIndex
from cidx_ref.index.port import Loaded, Run, RunOptions, Source
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["EitherIndex", "described"]

#: How the names of the other one's generations begin.
_THEIRS = "cidx-"


def described(project: Project) -> dict[str, Any]:
    """What a daemon that was started now would say of the index on disk, or why it could not be."""
    try:
        return EitherIndex(project).describe()
    except CidxError as error:  # the embedder that the environment names cannot be had
        return {"source": None, "index_problem": str(error)}


class EitherIndex:
    """The index of `project`; see `port.Index` and `port.Several`."""

    def __init__(
        self,
        project: Project,
        runtime: Runtime = SYSTEM,
        *,
        embedder: Embedder | None = None,
        check: Check = check_apart,
    ) -> None:
        """Raises `ConfigError` for an embedder that cannot be had."""
        self._ours = OurIndex(project, runtime, embedder=embedder)
        self._theirs = TheirIndex(
            project.root, self._ours.embedder, self._ours.key, runtime, check=check
        )
        #: A generation that lies where ours would, and was not made here.
        self._not_ours = ""

    def source(self, name: str) -> Source[Loaded]:
        return self._theirs if name == "cidx" else self._ours

    def is_made_here(self, generation: str) -> bool:
        return not generation.startswith(_THEIRS)

    def current(self) -> str:
        try:
            generation = self._ours.current()
        except NoIndexError as error:
            return self._other(error)
        if generation == self._not_ours and self._theirs.is_adopted:
            return self._theirs.current()
        return generation

    def load(self, generation: str) -> Loaded:
        if generation.startswith(_THEIRS):
            return self._theirs.load(generation)
        try:
            return self._ours.load(generation)
        except NoIndexError:
            if not self._theirs.is_adopted:
                raise
            self._not_ours = generation  # which came with a clone, as it may be
            raise GenerationGone(generation) from None

    def describe(self) -> dict[str, Any]:
        """Beside what the one that serves says: under `source` which that is (None: neither), and
        under `cidx` what is known of the full cidx's, where one lies here."""
        ours, theirs = self._ours.describe(), self._theirs.describe()
        said = {**ours, "source": None, "cidx": theirs or None}
        if ours["generation"] is not None and "index_problem" not in ours:
            return {**said, "source": "own"}
        if "generation" not in theirs:
            return said
        if not theirs["adopted"]:
            return {**said, "index_problem": f"{ours['index_problem']}; {HINT}"}
        said.pop("index_problem", None)
        return {
            **said,
            "source": "cidx",
            "generation": theirs["generation"],
            "index_age_seconds": theirs["age_seconds"],
            "model": theirs["model"],
            "files": theirs.get("files", 0),
            "chunks": theirs.get("chunks", 0),
        }

    def check(self) -> dict[str, Any]:
        return self._ours.check()

    def skipped(self) -> dict[str, Any]:
        return self._ours.skipped()

    def sweep(self) -> None:
        self._ours.sweep()

    def begin_run(self, options: RunOptions) -> Run:
        return self._ours.begin_run(options)

    def _other(self, error: NoIndexError) -> str:
        if self._theirs.is_adopted:
            return self._theirs.current()
        if self._theirs.lies_here():
            raise NoIndexError(f"{error}; {HINT}") from None
        raise error
