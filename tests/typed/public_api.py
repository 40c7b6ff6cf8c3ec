"""The public names as a project that depends on this one uses them: read by mypy, and never run.

`tox -e types` checks this file twice: among the tests, and from another directory against the
installed wheel, where the types are found only because `py.typed` is in it.  A line that must be
refused has a `type: ignore` with the one code that it is refused for; if mypy accepts the line, the
comment is unused, which is an error, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import assert_type

import cidx_ref
from cidx_ref import (
    Answer,
    BadArgumentError,
    BusyError,
    CacheEvictionThread,
    CIDXDaemonService,
    CidxError,
    ConfigError,
    DaemonClient,
    DaemonUnavailableError,
    EmbedderError,
    HealthMonitor,
    Hit,
    IndexingError,
    IndexUnusableError,
    InternalError,
    NoIndexError,
    ShuttingDownError,
    connect,
    start_daemon,
)


def a_client_is_a_context() -> None:
    assert_type(cidx_ref.__version__, str)
    assert_type(connect(), DaemonClient)
    assert_type(connect(Path("repository"), start=False, timeout_s=5), DaemonClient)
    with cidx_ref.connect("repository") as daemon:
        assert_type(daemon, DaemonClient)
        daemon.index(progress=print)
        daemon.close()
        daemon.shutdown()
    connect(5)  # type: ignore[arg-type]
    connect("repository", True)  # type: ignore[call-arg]


def a_query_has_an_answer(daemon: DaemonClient) -> None:
    answer = daemon.query("text")
    assert_type(answer, Answer)
    daemon.query(
        "text", mode="fts", limit=3, languages=("python",), paths=["src/"], exclude_paths={"*.js"}
    )
    daemon.query("text", limit="3")  # type: ignore[arg-type]
    daemon.query("text", laguages=["python"])  # type: ignore[call-arg]
    daemon.query(b"text")  # type: ignore[arg-type]


def an_answer_is_a_sequence_of_hits(answer: Answer) -> None:
    hits: Sequence[Hit] = answer
    assert_type(len(hits), int)
    assert_type(answer[0], Hit)
    assert_type(answer[:3], Sequence[Hit])
    assert_type([hit.path for hit in answer], list[str])
    assert_type(answer.results, tuple[Hit, ...])
    assert_type((answer.mode, answer.generation, answer.took_ms), tuple[str, str, float])
    assert_type((answer.semantic_count, answer.fts_count), tuple[int | None, int | None])
    assert_type(answer.unavailable, Mapping[str, str])
    answer.mode = "fts"  # type: ignore[misc]


def a_hit_says_where(hit: Hit) -> None:
    assert_type((hit.path, hit.language, hit.snippet, hit.name), tuple[str, str, str, str])
    assert_type(hit.kind, str)
    assert_type((hit.line_start, hit.line_end, hit.snippet_start), tuple[int, int, int])
    assert_type(hit.marks, tuple[tuple[int, int], ...])
    assert_type(hit.score, float)
    hit.line = 5  # type: ignore[attr-defined]


def every_error_is_one_of_ours(daemon: DaemonClient) -> None:
    try:
        daemon.query("text")
    except (BusyError, ShuttingDownError, DaemonUnavailableError) as error:
        again: CidxError = error
        assert_type(again.kind, str)
    except (NoIndexError, IndexUnusableError, IndexingError, EmbedderError, InternalError) as error:
        assert_type(error.failure, bool)
    except (BadArgumentError, ConfigError) as error:
        mistake: ValueError = error
        raise mistake from None


def a_service_can_be_had_in_ones_own_process(project: Path) -> None:
    service = CIDXDaemonService()
    assert_type(CacheEvictionThread(service), CacheEvictionThread)
    assert_type(HealthMonitor(service), HealthMonitor)
    if (entry := service.cache_entry) is not None:
        assert_type(entry.last_accessed, datetime)
        entry.last_accessed = datetime.fromtimestamp(0).astimezone()
        entry.ttl_minutes = 1.5
    assert_type(start_daemon(project / ".code-indexer/config.json"), None)
