"""An index that the full cidx has made, adopted: what of it is believed, what is left of it there,
and what is seen when it is written anew.  No other daemon takes one.

They are among `own.conformance.TARGET.checks`, and run like the kit's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance.asking import Asker, Refused
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.subject import Project
from cidx_ref.testing.conformance.target import words
from cidx_ref.testing.own.faulty import faulted

__all__ = ["CHECKS"]

_ENVIRONMENT = {"CIDX_REF_EMBEDDER": "cidx_ref.testing.own.cidx_format:StandIn"}
_FILES = {
    "net/retry.py": "".join(f"def retry_{n}(call):\n    return call(peer{n})\n" for n in range(40)),
    "harbour.md": "# Harbour\n\nBoats, and a lantern at the quay.\n",
}
_MORE_FILES = {**_FILES, "new.py": "lighthouse = 1\n"}
_PROGRAM = ("{python}", "-P", "-m", "cidx_ref")
#: What one of them becomes later, which is in no index.
_LATER = "".join(f"def retry_{n}(unindexed):\n    return unindexed\n" for n in range(40))


@check("adopted-index", "TRUST-1", "TRUST-2", "CACHE-4", "CACHE-8", "FRESH-3")
def adopted_index(bench: Bench) -> None:
    """It is not used before it is adopted, and nothing is left there; what is published is seen; no
    text is shown that the index was not made of, and no vector used of a publish that is half done,
    or of a graph that leads nowhere."""
    with _serving(bench) as (project, asker):
        texts = project.root / ".code-indexer/tantivy_index"
        with bench.showing("TRUST-2"):
            found = _found(asker, "lantern")
            assert not found, f"an index of the full cidx answers that was not adopted: {found}"
            _adopt(bench, project)
        with bench.showing("TRUST-1"):
            before = _names(texts)
            found = _found(asker, "lantern")
            assert found == ["harbour.md"], f"an adopted index has `lantern` in {found}"
            left = _names(texts) - before
            assert not left, f"in the index of the full cidx, {left} was left"
        with bench.showing("CACHE-8"):
            _write(project.root, _MORE_FILES)
            (project.root / "net/retry.py").write_text(_LATER, "utf-8")
            found = _found(asker, "lighthouse")
            assert found == ["new.py"], f"what the full cidx has published is not seen: {found}"
        with bench.showing("FRESH-3"):
            hits = _hits(asker, "retry", "query")
            shown = [hit for hit in hits if "unindexed" in str(hit["snippet"])]
            assert not shown, f"a hit has a text that the index was not made of: {shown[0]}"
        with bench.showing("CACHE-4"):
            _publish_half(project.root, lambda: _answers_without_vectors(asker))
        with bench.showing("TRUST-2"):
            _have_a_link_to_nowhere(project.root)
            _answers_without_vectors(asker)


def _publish_half(root: Path, meanwhile: Callable[[], None]) -> None:
    """The same points, of which another one is which: first the graph, then what says so."""
    from cidx_ref.testing.own.cidx_format import MODEL, StandIn, pieces_of, write_collection

    pieces = [piece for path, text in _MORE_FILES.items() for piece in pieces_of(path, text)][::-1]
    vectors = StandIn().embed_documents([piece.text for piece in pieces])
    collection = root / ".code-indexer/index" / MODEL
    write_collection(collection, pieces, vectors, blobs={}, texts=True, between=meanwhile)


#: Of a graph, before the links of its first element: their number, and then they.
_HEAD_BYTES = 96


def _have_a_link_to_nowhere(root: Path) -> None:
    [graph] = (root / ".code-indexer/index").glob("*/hnsw_index.bin")
    data = bytearray(graph.read_bytes())
    link = _HEAD_BYTES + 4
    data[link : link + 4] = struct.pack("<I", 1 << 24)
    graph.with_suffix(".new").write_bytes(data)
    graph.with_suffix(".new").replace(graph)


def _answers_without_vectors(asker: Asker) -> None:
    answer = _asked(asker, "lantern", "query_hybrid")
    missing = answer.get("unavailable", {})
    assert list(missing) == ["semantic"], f"vectors are used that are not whole: {missing}"


@contextmanager
def _serving(bench: Bench) -> Iterator[tuple[Project, Asker]]:
    """A project that the full cidx has indexed, and a daemon of it."""
    target = replace(bench.target, env={**bench.target.env, **_ENVIRONMENT})
    project = replace(bench.project(), target=target)
    _write(project.root, _FILES)
    command = faulted(words(bench.spawn.command), "--check-here")
    with (
        bench.daemon(project, index=False, command=command) as daemon,
        daemon.connect(30.0) as asker,
    ):
        yield project, asker


def _write(root: Path, files: dict[str, str]) -> None:
    # Not at the top: it needs both engines.
    from cidx_ref.testing.own.cidx_format import write_index

    write_index(root, files)
    for lock in (root / ".code-indexer/tantivy_index").glob(".tantivy-*.lock"):
        lock.unlink()


def _adopt(bench: Bench, project: Project) -> None:
    # By no mutant: this is about the daemon.
    adopting = bench.launch(project, [*_PROGRAM, "adopt", "--project", "{project}"])
    assert adopting.wait(60.0) == 0, f"what is right is not adopted: {adopting.tail()}"


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def _asked(asker: Asker, query: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = asker.call(
        method, project_path=str(asker.root), query=query, source="cidx"
    )
    return found


def _hits(asker: Asker, query: str, method: str) -> list[dict[str, Any]]:
    hits: list[dict[str, Any]] = _asked(asker, query, method)["results"]
    return hits


def _found(asker: Asker, query: str) -> list[str]:
    """The files that have it, by full text."""
    with suppress(Refused):
        return [str(hit["path"]) for hit in _hits(asker, query, "query_fts")]
    return []


CHECKS: tuple[Check, ...] = (adopted_index,)
