"""Broken answers: what a search finds, what the daemon says of itself, what it is configured to
(QRY-1 to QRY-5, OBS-1 to OBS-3, CFG-1)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cidx_ref.config import Config
from cidx_ref.daemon import arguments, dispatch, report
from cidx_ref.daemon.health import HealthMonitor, Metrics
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import CidxError, ConfigError, IndexUnusableError
from cidx_ref.index import search, stems, text
from cidx_ref.index.engines import Engines
from cidx_ref.index.fulltext import FullTextIndex
from cidx_ref.index.live import LiveChunks
from cidx_ref.index.nearest import Nearest
from cidx_ref.index.phrases import Phrase, Phrases
from cidx_ref.index.query import Query
from cidx_ref.index.quotes import Piece
from cidx_ref.index.snippet import Probes
from cidx_ref.index.source import GenerationSource
from cidx_ref.index.storing import StoredChunk
from cidx_ref.project import Project
from cidx_ref.runtime import Runtime, Thread
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("QRY-1")
def nearest_in_the_order_of_the_files() -> Iterator[None]:
    """The nearest are found, and told in the order in which they were indexed."""
    find = Nearest.search

    def as_indexed(self: Nearest, vector: Any, k: int, allowed: Any = None) -> Any:
        return sorted(find(self, vector, k, allowed))

    with patch.object(Nearest, "search", as_indexed):
        yield


@mutant("QRY-1")
def collisions_are_hits() -> Iterator[None]:
    """Whatever hashes to the same places as the query is near it, though it shares no word."""
    with patch.object(Probes, "touch", lambda self, chunk: True):
        yield


@mutant("QRY-1")
def rare_words_are_left_to_the_graph() -> Iterator[None]:
    """A chunk in which a rare word stands is found only where the graph happens to reach it."""
    with (
        patch.object(FullTextIndex, "holding", lambda self, wanted, allowed=None: []),
        patch.object(FullTextIndex, "holding_within_words", lambda self, found, at_most: []),
    ):
        yield


@mutant("QRY-1")
def no_match_without_a_last_look() -> Iterator[None]:
    """What neither the graph nor a term of the index leads to is no match."""
    with patch.object(LiveChunks, "scan", lambda self, holds, k, mask: []):
        yield


@mutant("QRY-1")
def lines_from_nought() -> Iterator[None]:
    """The first line of a file is line 0."""
    hit = Engines._hit

    def earlier(self: Any, number: int, chunk: StoredChunk, score: float) -> dict[str, Any]:
        found = hit(self, number, chunk, score)
        lines = ("line_start", "line_end", "snippet_start")
        return {**found, **{line: found[line] - 1 for line in lines}}

    with patch.object(Engines, "_hit", earlier):
        yield


@mutant("QRY-2")
def filters_are_ignored() -> Iterator[None]:
    """Filters are checked, and let everything through."""
    with patch.object(LiveChunks, "mask", lambda self, filters: None):
        yield


@mutant("QRY-2")
def filtered_afterwards() -> Iterator[None]:
    """Of the best there are, those that pass the filters, instead of the best of what passes."""
    fulltext = Engines.fulltext

    def filter_last(self: Any, k: int) -> Any:
        unfiltered = copy.copy(self)
        unfiltered._mask = None
        found = fulltext(unfiltered, k)
        return [hit for hit in found if self._mask is None or self._mask.chunks[hit[0]]]

    with patch.object(Engines, "fulltext", filter_last):
        yield


@mutant("QRY-2")
def identifiers_are_not_split() -> Iterator[None]:
    """A word is what stands between spaces and signs: `parseHTTPHeaders` is one."""
    with patch.object(text, "_word_terms", lambda word: (stems.stem(word.lower()),)):
        yield


@mutant("QRY-2")
def matches_in_the_order_of_the_files() -> Iterator[None]:
    """The first matches are told, and not the best."""
    run = FullTextIndex._run

    def unranked(self: FullTextIndex, query: Any, k: int) -> Any:
        return sorted(run(self, query, self.count))[:k]

    with patch.object(FullTextIndex, "_run", unranked):
        yield


class _InTurn:
    """A runtime whose threads have ended once they are started."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def thread(self, target: Callable[[], object], name: str) -> Thread:
        thread = self._runtime.thread(target, name)
        thread.join()
        return thread


@mutant("QRY-3")
def one_engine_after_the_other() -> Iterator[None]:
    """A hybrid search takes the time of both engines."""
    hybrid = search._hybrid

    def in_turn(engines: Any, limit: int, runtime: Any) -> Any:
        return hybrid(engines, limit, _InTurn(runtime))  # type: ignore[arg-type]

    with patch.object(search, "_hybrid", in_turn):
        yield


@mutant("QRY-3")
def half_an_answer_is_none() -> Iterator[None]:
    """Where one engine cannot answer, a hybrid search does not, either."""
    hybrid = search._hybrid

    def all_or_nothing(engines: Any, limit: int, runtime: Any) -> Any:
        ranking, extra = hybrid(engines, limit, runtime)
        if "unavailable" in extra:
            raise IndexUnusableError("; ".join(extra["unavailable"].values()))
        return ranking, extra

    with patch.object(search, "_hybrid", all_or_nothing):
        yield


@mutant("QRY-3")
def half_an_answer_says_nothing() -> Iterator[None]:
    """Where one engine cannot answer, the other's answer is passed off as both."""
    hybrid = search._hybrid

    def silent(engines: Any, limit: int, runtime: Any) -> Any:
        ranking, extra = hybrid(engines, limit, runtime)
        extra.pop("unavailable", None)
        return ranking, extra

    with patch.object(search, "_hybrid", silent):
        yield


@mutant("QRY-4")
def queries_are_parsed() -> Iterator[None]:
    """Queries are in tantivy's language (the story's own), leniently: none raises, and
    `std::vector` is a field of the index that there is not."""

    def parse(self: FullTextIndex, query: Query) -> Any:
        return self._index.parse_query_lenient(query.text, ["body"])[0]

    with patch.object(FullTextIndex, "_clauses", parse):
        yield


@mutant("QRY-4")
def nothing_but_punctuation_is_nothing() -> Iterator[None]:
    """What has no terms matches nothing."""
    with patch.object(LiveChunks, "find_literally", lambda self, needle, k, mask: []):
        yield


@mutant("QRY-2")
def phrases_are_held_by_their_words() -> Iterator[None]:
    """What has the words of a phrase in a row has the phrase, whatever stands between them."""
    with (
        patch.object(Phrase, "may_stand_in", lambda self, raw: True),
        patch.object(Phrase, "stands_in", lambda self, text: True),
    ):
        yield


@mutant("QRY-4")
def a_phrase_that_nothing_has_empties_the_answer() -> Iterator[None]:
    """A quoted piece must be there, whether anything has it or not."""
    standing = Phrases._standing

    def found_or_not(self: Phrases, piece: Piece, *, may_scan: bool = True) -> Phrase:
        return standing(self, piece, may_scan=may_scan) or Phrase(piece, any_case=True)

    with patch.object(Phrases, "_standing", found_or_not):
        yield


@mutant("QRY-5")
def checked_inside() -> Iterator[None]:
    """Arguments are checked when the call has been let in."""
    counted = CIDXDaemonService._counted

    @contextmanager
    def enter_first(self: CIDXDaemonService, method: str) -> Iterator[None]:
        with counted(self, method), self.gate.call(method, is_use=False):
            yield

    with patch.object(CIDXDaemonService, "_counted", enter_first):
        yield


@mutant("QRY-5")
def unknown_arguments_are_ignored() -> Iterator[None]:
    """A misspelt filter filters nothing, and nobody is told."""
    with patch.object(arguments, "_refuse_unknown", lambda given, known: None):
        yield


@mutant("OBS-1")
def status_of_what_is_cached() -> Iterator[None]:
    """The generation that is loaded is told for the one that is live."""
    status = report.status

    def loaded(service: CIDXDaemonService) -> dict[str, Any]:
        told, entry = status(service), service.cache_entry
        return told if entry is None else {**told, "generation": entry.generation}

    with patch.object(report, "status", loaded):
        yield


@mutant("OBS-1")
def looking_is_using() -> Iterator[None]:
    """Whoever asks for the status renews what is cached, and is counted as a query."""
    status = report.status

    def use(service: CIDXDaemonService) -> dict[str, Any]:
        if service._served is None or service.cache_entry is None:
            return status(service)
        with service._served.cache.pin():
            return status(service)

    with patch.object(report, "status", use):
        yield


@mutant("OBS-1")
def index_runs_are_not_told() -> Iterator[None]:
    """An index run is in nobody's status."""
    with patch.object(CIDXDaemonService, "is_indexing", property(lambda service: False)):
        yield


@mutant("OBS-1")
def the_files_are_not_looked_at() -> Iterator[None]:
    """That there is a manifest is taken for all files being as it says."""

    def believe(self: GenerationSource) -> dict[str, Any]:
        return {"generation": self.current(), "matches_manifest": True, "damaged": {}}

    with patch.object(GenerationSource, "check", believe):
        yield


@mutant("OBS-2")
def failures_are_never_forgotten() -> Iterator[None]:
    """Ten failures in a year, and the daemon is degraded for ever (the story's own)."""
    with patch.object(HealthMonitor, "_forget", lambda self: None):
        yield


@mutant("OBS-2")
def mistakes_are_failures() -> Iterator[None]:
    """A user's typing error counts against the daemon (the story's own)."""
    with patch.object(CidxError, "failure", True):
        yield


@mutant("OBS-2")
def bugs_are_not_failures() -> Iterator[None]:
    """Only errors that somebody thought of count against the daemon."""
    record = HealthMonitor.record_error

    def expected(self: HealthMonitor, error: BaseException) -> None:
        if isinstance(error, CidxError):
            record(self, error)

    with patch.object(HealthMonitor, "record_error", expected):
        yield


@mutant("OBS-3")
def the_clients_calls_count_twice() -> Iterator[None]:
    """A call of the shipped client is counted where it arrives, and where it is answered."""
    call = dispatch.call

    def count_too(service: Any, method: Any, given: Any, callback: Any) -> Any:
        answer = call(service, method, given, callback)
        service.metrics.count_call(method, "ok", 0.0)
        return answer

    with patch.object(dispatch, "call", count_too):
        yield


@mutant("OBS-3")
def failed_calls_do_not_count() -> Iterator[None]:
    """Only what went well is counted."""
    count_call = Metrics.count_call

    def count(self: Metrics, method: str, outcome: str, seconds: float) -> None:
        if outcome == "ok":
            count_call(self, method, outcome, seconds)

    with patch.object(Metrics, "count_call", count):
        yield


@mutant("OBS-3")
def the_cache_is_not_logged() -> Iterator[None]:
    """Loads and evictions are counted, and the log does not tell which and when."""

    def count(self: CIDXDaemonService, event: str, generation: str, seconds: float = 0.0) -> None:
        self.metrics.count_cache(event, seconds)

    with patch.object(CIDXDaemonService, "_on_cache_event", count):
        yield


@mutant("OBS-3")
def refusals_are_not_logged() -> Iterator[None]:
    """The log does not tell what failed, and why."""

    def count(self: CIDXDaemonService, method: str, error: CidxError) -> None:
        if error.failure:
            self.health_monitor.record_error(error)

    with patch.object(CIDXDaemonService, "_note", count):
        yield


@mutant("CFG-1")
def bad_values_are_the_defaults() -> Iterator[None]:
    """A file with a bad value in it is taken for none."""
    load = Config.load

    def forgive(cls: type[Config], /, path: Path) -> Config:
        try:
            return load(path)
        except ConfigError:
            return cls()

    with patch.object(Config, "load", classmethod(forgive)):
        yield


@mutant("CFG-1")
def init_begins_anew() -> Iterator[None]:
    """What other programs keep in the file is gone when it is written."""
    init = Config.init

    def overwrite(cls: type[Config], /, project: Project, **changes: Any) -> Config:
        project.config_path.unlink(missing_ok=True)
        return init(project, **changes)

    with patch.object(Config, "init", classmethod(overwrite)):
        yield


@mutant("CFG-1")
def minutes_are_seconds() -> Iterator[None]:
    """`ttl_minutes` is taken for what it is not."""
    with patch.object(Config, "ttl_s", property(lambda config: config.ttl_minutes)):
        yield
