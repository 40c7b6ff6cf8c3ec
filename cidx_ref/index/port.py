"""The port between daemon and index: what a daemon needs of an index, and nothing more.

A daemon keeps one generation of an index in memory, answers from it, and has new generations made.
Our own index (`ours`) is one implementation; a fake in the tests, of sixty lines, is another.  Here
are protocols and plain values only, so the port costs nothing to import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from cidx_ref.index.filters import Filters
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime

__all__ = [
    "ENGINES", "LINE_MODES", "MODES", "SOURCES", "Index", "Loaded", "Open", "Progress", "Run",
    "RunListener", "RunOptions", "Search", "Several", "Source",
]  # fmt: skip

ENGINES = ("semantic", "fts")
MODES = ("hybrid", *ENGINES)
#: Whose index: ours, or that of the full cidx.
SOURCES = ("own", "cidx")
#: Those that answer with exact lines, and need neither engine.
LINE_MODES = ("literal", "regex")

#: `progress(current, total, path, info)`, in files.
Progress = Callable[[int, int, str, str], None]


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked: checked, and complete."""

    text: str
    mode: str = "hybrid"
    limit: int = 10
    filters: Filters = field(default_factory=Filters)
    #: Whether it is known that no file has changed since it was indexed: none need be looked at.
    is_unchanged: bool = False
    #: Whether each hit says what made its score.
    explain: bool = False
    #: Of `LINE_MODES`: whether "a" also means "A".
    ignore_case: bool = False
    #: Which of the indexes that there are answers (`SOURCES`); "": the one that serves.
    source: str = ""


class Loaded(Protocol):
    """One generation in memory: immutable, and searchable by any number of threads at once."""

    @property
    def generation(self) -> str:
        """Which one it is."""

    @property
    def count(self) -> int:
        """How many chunks it has: by it, some queries are worked on one at a time."""

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Of each missing engine (see `ENGINES`) why it is missing."""

    def answer(self, search: Search) -> dict[str, Any]:
        """The answer, as plain data: `results`, a list of dictionaries with the fields of
        `results.Hit`, `mode`, `generation` and `took_ms`, and `indexed_at`, where it is known; see
        `results.Answer` for more.

        Raises `IndexUnusableError` if the engine that is asked for is missing.
        """

    def close(self) -> None:
        """Give everything back.  Called once, when no thread uses it any more."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is asked of an index run; see `CIDXDaemonService.exposed_index`.

    `wait_s` is for how long who asks waits for another writer: a daemon has its runs wait without
    end, and lets go of one that nobody wants any more.  With `merge`, nothing but a merge that is
    due, of what is indexed already.
    """

    full: bool = False
    wait_s: float | None = None
    keep_unverified: bool = False
    max_file_size_bytes: int = 1_048_576
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    merge: bool = False
    #: Whether the listener is told which folders to watch.
    watch: bool = False


class RunListener(Protocol):
    """Is told what an index run does, in the thread that runs it."""

    def waiting(self) -> None:
        """Another writer is at work, and the run waits for it.  Not every index can say so."""

    def scanning(self) -> None:
        """The run is about to look at the files, and looks at none before this returns: what
        changes from then on, it may miss."""

    def listed(self, folders: list[str] | None, files: list[str]) -> None:
        """Asked for by `RunOptions.watch`, after `scanning` and before any file is looked at: what
        changes the index lies in one of `folders` ("" or "a/b/"), or will; None where they are too
        many.  `files` is what was listed.  No file is looked at before this returns."""

    def progress(self, current: int, total: int, path: str, info: str) -> None:
        """`current` of `total` files are done; the next one is `path`."""

    def ready(self, generation: str) -> None:
        """`generation` can be loaded, and becomes the live one when this returns."""


class Run(Protocol):
    """One index run: asked for, and not over yet."""

    def run(self, listener: RunListener) -> dict[str, Any]:
        """Do it; called once.  Returns the report, plain data: `generation`, and what is known of
        `changed`, `files`, `chunks`, `guessed`, `skipped`, `removed` and `notes` (see
        `reports.IndexReport`); and `merge_due`, if another run should merge what there is.

        Raises `BusyError`, `IndexingError`, `UntrustedError`; `ShuttingDownError` if cancelled.
        """

    def cancel(self) -> None:
        """End it, from any thread; the live generation stays as it is."""


L_co = TypeVar("L_co", covariant=True)


class Source(Protocol[L_co]):
    """Where the cache gets generations from.  Called from many threads."""

    def current(self) -> str:
        """The generation that is live on disk now; must be cheap, as each query asks.

        Raises `NoIndexError` where there is none.
        """

    def load(self, generation: str) -> L_co:
        """Read and verify `generation`.

        Raises `GenerationGone` if it was replaced and removed meanwhile, `IndexUnusableError` if
        it cannot be used.
        """


class Index(Source[Loaded], Protocol):
    """The index of one project.  Every method may be called from any thread."""

    def describe(self) -> dict[str, Any]:
        """What a status says of the index on disk, as plain data; cheap, and raises nothing.

        `generation` (None: there is none), `index_age_seconds`, `model`, `files`, `chunks`, and
        under `index_problem`, if there is one, why it cannot be used.
        """

    def check(self) -> dict[str, Any]:
        """What diagnostics say, as plain data: among it whether files are what they should be, for
        which all of them may be read."""

    def skipped(self) -> dict[str, Any]:
        """What the last index run left out, as `reports.Skipped` has it; raises nothing."""

    def sweep(self) -> None:
        """Remove what no reader uses and no writer needs, unless a writer is at work."""

    def begin_run(self, options: RunOptions) -> Run:
        """A new index run, not begun yet.  Raises `OSError` if it cannot be."""


@runtime_checkable
class Several(Protocol):
    """An index that is one of several, and can give each of them.  `describe` says under `source`
    which of them serves; only ours is brought up to date."""

    def source(self, name: str) -> Source[Loaded]:
        """That one of `SOURCES`; one that is not there raises when it is asked."""

    def is_made_here(self, generation: str) -> bool:
        """Whether index runs bring it up to date; cheap."""


#: Opens the index of a project, on a runtime.  It need not have a generation yet.
Open = Callable[[Project, Runtime], Index]
