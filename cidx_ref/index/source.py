"""Where the cache gets its snapshots from: the project's generations on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cidx_ref.errors import GenerationGone, IndexUnusableError, NoIndexError, UntrustedError
from cidx_ref.index.embed import Embedder
from cidx_ref.index.generation import Generations, Lease
from cidx_ref.index.loaded import LoadedSegments
from cidx_ref.index.manifest import damaged_files, read_manifest
from cidx_ref.keys import Key
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import why
from cidx_ref.steps import Step

if TYPE_CHECKING:
    from cidx_ref.index.snapshot import IndexSnapshot

__all__ = ["GenerationSource"]


class GenerationSource:
    """Loads generations from the project's directory: a `port.Source` for the cache."""

    def __init__(
        self,
        directory: Path,
        embedder: Embedder,
        runtime: Runtime = SYSTEM,
        *,
        key: Key | None = None,
    ) -> None:
        self._generations = Generations(directory, runtime, key=key)
        self._embedder = embedder
        self._runtime = runtime
        self._segments = LoadedSegments(runtime)

    def current(self) -> str:
        return self._generations.current()

    def load(self, generation: str) -> IndexSnapshot:
        """Raises `GenerationGone`, `NoIndexError` or `IndexUnusableError`."""
        # The engines, and numpy under them, are imported by the first load: an idle daemon stays
        # small, and a status call stays quick.
        from cidx_ref.index.snapshot import IndexSnapshot

        path = self._generations.path(generation)
        self._runtime.step(Step.OPENING)
        try:
            lease = Lease(path, self._runtime)
            try:
                key = self._generations.key
                return IndexSnapshot(
                    generation, lease, self._embedder, key, self._runtime, self._segments
                )
            except BaseException:
                lease.close()
                raise
        except FileNotFoundError:
            if self.current() != generation:
                raise GenerationGone(generation) from None
            raise IndexUnusableError(
                f"generation {generation} is missing: run `cidx-ref index`"
            ) from None
        except UntrustedError as error:
            raise NoIndexError(str(error)) from None
        except OSError as error:
            raise IndexUnusableError(f"generation {generation}: {error.strerror}") from None

    def check(self) -> dict[str, Any]:
        """Whether the live generation on disk still is what its manifest says (diagnostics)."""
        try:
            generation = self.current()
            directory = self._generations.path(generation)
            damaged = damaged_files(directory, read_manifest(directory, self._generations.key))
        except NoIndexError:
            return {"generation": None, "matches_manifest": None, "damaged": {}}
        except (IndexUnusableError, UntrustedError, OSError) as error:
            return {"generation": None, "matches_manifest": False, "damaged": {"": why(error)}}
        return {"generation": generation, "matches_manifest": not damaged, "damaged": damaged}
