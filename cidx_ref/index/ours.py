"""Our own index, as the daemon's port has it: generations on disk, read here, built by a child."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cidx_ref.errors import CidxError, NoIndexError
from cidx_ref.index.asking import QueryVectors
from cidx_ref.index.child import BuildProcess
from cidx_ref.index.embed import Embedder
from cidx_ref.index.embedders import configured
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import read_manifest
from cidx_ref.index.port import RunOptions
from cidx_ref.index.skipped import read_skipped
from cidx_ref.index.source import GenerationSource
from cidx_ref.index.stale import Staleness
from cidx_ref.keys import account_key
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    from cidx_ref.index.snapshot import IndexSnapshot

__all__ = ["OurIndex"]

#: For so long those may take to end, and to let go of the writers' lock, who helped a run that was
#: killed.
_ENDING_S = 2.0


class OurIndex:
    """The index of `project`, searched and built with `embedder` (default: the configured one).

    Raises `ConfigError` for an embedder that cannot be had.
    """

    def __init__(
        self, project: Project, runtime: Runtime = SYSTEM, *, embedder: Embedder | None = None
    ) -> None:
        self._project = project
        self._runtime = runtime
        #: For all generations: a publish costs no query its vector.
        self._embedder = self.embedder = QueryVectors.of(embedder or configured(), runtime)
        self._key = self.key = account_key()
        self._source = GenerationSource(project.generations, self._embedder, runtime, key=self._key)
        self._staleness = Staleness(project.root, runtime)
        self._generations = Generations(project.generations, runtime, key=self._key)
        #: The last generation that was loaded, if all its files were what they should be.
        self._verified = ""
        self._sweeping = runtime.lock("sweeping")
        #: How many sweeps were asked for, and how many of these have been made.
        self._asked = self._swept = 0

    def current(self) -> str:
        return self._source.current()

    def load(self, generation: str) -> IndexSnapshot:
        self._verified = ""
        snapshot = self._source.load(generation)
        snapshot.staleness = self._staleness
        self._verified = "" if snapshot.unavailable else generation
        return snapshot

    def describe(self) -> dict[str, Any]:
        # Why an index is good for this daemon only; null where the account's key lasts.
        return {
            "key_problem": self._key.problem,
            **self._on_disk(),
            "skipped": self.skipped()["counts"],
        }

    def _on_disk(self) -> dict[str, Any]:
        nothing = {
            "generation": None,
            "index_age_seconds": None,
            "model": None,
            "files": 0,
            "chunks": 0,
        }
        try:
            generation = self._generations.current()
            manifest = read_manifest(self._generations.path(generation), self._key)
            made = datetime.fromisoformat(manifest["created_at"])
        except NoIndexError as error:
            return {**nothing, "index_problem": str(error)}
        except FileNotFoundError:
            problem = f"generation {generation} is missing: run `cidx-ref index`"
            return {**nothing, "generation": "unusable", "index_problem": problem}
        except (CidxError, OSError, ValueError) as error:
            problem = str(error) if isinstance(error, CidxError) else type(error).__name__
            return {**nothing, "generation": "unusable", "index_problem": problem}
        age = self._runtime.now().astimezone() - made
        return {
            "generation": generation,
            "index_age_seconds": round(age.total_seconds(), 3),
            "model": manifest["embedder"]["id"],
            "files": manifest["counts"]["files"],
            "chunks": manifest["counts"]["chunks"],
        }

    def check(self) -> dict[str, Any]:
        """`embedder`, and under `index_files` whether they match their manifest."""
        return {
            "embedder": {"id": self._embedder.id, "dim": self._embedder.dim},
            "index_files": self._source.check(),
        }

    def skipped(self) -> dict[str, Any]:
        return read_skipped(self._project, self._key)

    def sweep(self) -> None:
        if self._project.places.is_read_only:
            return
        with self._sweeping:
            self._asked += 1
        self._sweep()

    def begin_run(self, options: RunOptions) -> BuildProcess:
        return BuildProcess(
            self._project,
            options,
            embedder=self._embedder.id,
            key=self._key,
            verified=self._verified,
            failed=self._run_has_failed,
            ended=self._run_has_ended,
        )

    def _run_has_failed(self) -> None:
        # Perhaps because of what has become of a file since it was verified.  A run by itself finds
        # that out, but a merge looks at no sources, and of a process that has died nobody knows.
        # So the next run reads all files, once.
        self._verified = ""

    def _run_has_ended(self, was_killed: bool) -> None:
        # While it was writing, a sweep may have been asked for, and it has swept before.  One that
        # was killed has swept nothing: on a full disk its half would be in everybody's way.
        if was_killed or self._swept < self._asked:
            with suppress(CidxError, OSError):  # which the next run tells, if it lasts
                self._sweep(_ENDING_S if was_killed else 0.0)

    def _sweep(self, wait_s: float = 0.0) -> None:
        asked = self._asked
        if self._generations.sweep(wait_s):
            with self._sweeping:
                self._swept = max(self._swept, asked)
