"""Everything that is believed of an index of the full cidx, checked, and what is kept of it made.

Nothing is loaded into hnswlib here.  What is wrong with one engine's files leaves the other one,
which answers alone.  It is done in a process of its own (`checking`): what comes with a clone may
make tantivy end one.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from cidx_ref.errors import IndexUnusableError, UntrustedError
from cidx_ref.files import Directory
from cidx_ref.index.cidx import tree
from cidx_ref.index.cidx.blobs import AT_ONCE, Committed
from cidx_ref.index.cidx.catalogue import CatalogueWriter
from cidx_ref.index.cidx.meta import (
    DamagedError,
    Described,
    TornError,
    codebase,
    parse_ids,
    parse_meta,
    plain_path,
)
from cidx_ref.index.cidx.points import SAMPLE, Point, read_points, same_vector
from cidx_ref.index.cidx.rows import Document, Working, is_version, rows_of
from cidx_ref.index.cidx.words import check_sums, opened_text, text_names
from cidx_ref.index.folders import Folders
from cidx_ref.index.graphs import Graph, GraphError, check_graph, mapped
from cidx_ref.index.port import ENGINES
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import why

__all__ = ["checked_graph", "make_catalogue"]

_MAX_META_BYTES = 1 << 29
_MAX_GRAPH_BYTES = 1 << 37
_MAX_FILE_BYTES = 1 << 24
_MAX_CONFIG_BYTES = 1 << 20
_AT_ONCE_BYTES = 1 << 25  # of files of the working tree, that are kept until git has told the rest
_MAX_WATCHED = 256
_SURPLUS = 1 << 20  # labels are counted on, and those of what was deleted are not used again

Points = dict[int, Point]


def checked_graph(collection: Directory) -> tuple[Graph, Described, dict[str, str]]:
    """The graph of a collection, what is said of it, and where its points lie.

    Raises `DamagedError`, `TornError`.
    """
    described = parse_meta(_whole(collection, tree.META))
    places = parse_ids(_whole(collection, tree.IDS))
    fd = tree.open_quietly(collection, tree.GRAPH, _MAX_GRAPH_BYTES)
    try:
        data = mapped(fd)
    finally:
        os.close(fd)
    if not len(described.ids):
        raise DamagedError("collection_meta.json: no vectors")
    try:
        count = int.from_bytes(data[16:24].tobytes(), "little")
        most = 4 * count + _SURPLUS
        graph = check_graph(data, count, described.dim, most_label=most, may_delete=True)
    except GraphError as problem:
        raise TornError(f"{tree.GRAPH}: {problem}") from None
    alive = graph.labels[~graph.deleted]
    if described.count not in (len(graph), len(alive)):
        raise TornError(f"{tree.GRAPH}: not {described.count} vectors")
    if not set(alive.tolist()) <= described.ids.keys() <= set(graph.labels.tolist()):
        raise TornError(f"{tree.GRAPH}: other labels than in {tree.META}")
    if missing := next((id_ for id_ in described.ids.values() if id_ not in places), None):
        raise TornError(f"{tree.IDS}: no {missing}")
    return graph, described, places


def make_catalogue(job: tree.Job, runtime: Runtime = SYSTEM) -> dict[str, Any]:
    """Check the index that was found, and write its catalogue; the record, which says under
    `problems` which engine cannot be used.

    Raises `TornError` if that may be because a file is just about to be replaced, unless this
    `is_last` try, and `IndexUnusableError` where neither engine can be used.
    """
    work = _Work(job, runtime)
    for engine, do in (("semantic", work.read_points), ("fts", work.read_documents)):
        work.attempt(engine, do)
    read = [engine for engine in ENGINES if engine not in work.problems]
    ways = [read] if read else []
    if len(read) == 2:  # where both together cannot be written, either is to blame
        ways += [["fts"], ["semantic"]]
    for engines in ways:
        for engine in engines:
            work.problems.pop(engine, None)
        if work.attempt(engines[0], partial(work.write, engines)):
            return work.record
        job.above.remove(job.name)
    raise IndexUnusableError(f"the full cidx's index: {'; '.join(work.problems.values())}")


class _Work:
    """What is known so far."""

    def __init__(self, job: tree.Job, runtime: Runtime) -> None:
        self._job = job
        self._root = job.root
        self._found = job.found
        self._runtime = runtime
        self._points: Points = {}
        self._documents: list[Document] = []
        self._addresses: list[tuple[int, int]] = []
        self._text_files: dict[str, tree.Signature] = {}
        self._places = self._dim = self._vectors = 0
        self._is_stale = False
        #: By label, where its point lies.
        self._point_files: dict[int, str] = {}
        #: Which files what is being done may fail by, beside those of the generation.
        self._suspects: dict[str, tree.Signature] = {}
        self._prefixes = self._find_prefixes()
        self.problems: dict[str, str] = {}
        self._watched: dict[str, dict[str, tree.Signature]] = {}
        self._passing: set[str] = set()
        self.record: dict[str, Any] = {}

    def attempt(self, engine: str, do: Callable[[], None]) -> bool:
        """Do what `engine` needs; whether it could be done."""
        self._suspects = {}
        try:
            do()
        except TornError as error:
            if not self._job.is_last:
                raise
            self._refuse(engine, why(error))
        except (DamagedError, IndexUnusableError, UntrustedError, ValueError) as error:
            # tantivy has the system's refusals in its own words.
            self._refuse(engine, why(error), is_passing="os error" in str(error))
        except OSError as error:
            self._refuse(engine, why(error), is_passing=True)
        except MemoryError:  # which the other engine may need less of
            self._refuse(engine, "there is too little memory", is_passing=True)
        else:
            return True
        return False

    def _refuse(self, engine: str, problem: str, *, is_passing: bool = False) -> None:
        self.problems[engine] = problem
        self._watched[engine] = self._suspects
        self._passing = self._passing - {engine} | ({engine} if is_passing else set())

    def _suspect(self, labels: Iterable[int]) -> None:
        paths = [self._point_files[label] for label in islice(labels, _MAX_WATCHED)]
        with suppress(OSError, UntrustedError):
            self._suspects = tree.statuses(self._root, paths)

    def read_points(self) -> None:
        """The points of the collection."""
        name = self._found.collection
        if name is None:
            raise DamagedError(self._found.refused.get("semantic", "no collection has vectors"))
        with tree.opened(self._root, "index", name) as collection:
            graph, described, places = checked_graph(collection)
            labels = graph.labels[~graph.deleted].tolist()
            where = {int(label): n for n, label in enumerate(graph.labels.tolist())}
            # In the order of their files, and of these every n-th is compared.
            order = sorted(labels, key=lambda label: places[described.ids[label]])
            step = max(1, len(order) // SAMPLE)
            sampled = range(0, len(order), step)
            paths = [places[described.ids[label]] for label in order]
            above = f"{tree.INDEX}/{name}"
            self._point_files = {n: f"{above}/{p}" for n, p in zip(order, paths, strict=True)}
            read = read_points(collection, paths, self._prefixes, sampled)
            points: Points = {}
            try:
                for label, (point, vector) in zip(order, read, strict=True):
                    if vector is not None:
                        stored = np.array(graph.vectors[where[label]])
                        if not same_vector(vector, stored):
                            raise TornError(f"{tree.GRAPH}: not the vectors of its points")
                    points[label] = point
            except DamagedError:
                self._suspect(order[len(points) :][:1])  # they are read in this order
                raise
        self._points, self._dim = points, described.dim
        self._places = int(graph.labels.max()) + 1
        self._vectors = len(graph)
        self._is_stale = described.is_stale

    def read_documents(self) -> None:
        """The documents of the full text."""
        # Here: a graph can be checked without it.
        from cidx_ref.index.cidx.fulltext import documents, opened_index, probe

        if not self._found.has_text:
            raise DamagedError(self._found.refused.get("fts", "there is no full text"))
        with tree.opened(self._root, tree.FULLTEXT) as directory:
            paths = [f"{tree.FULLTEXT}/{name}" for name in text_names(directory)]
        self._suspects = tree.statuses(self._root, paths[:_MAX_WATCHED])
        with tree.opened(self._root, tree.FULLTEXT) as directory, opened_text(directory) as files:
            check_sums(files)
            index, searcher = opened_index(files)
            read, addresses = [], []
            every = list(documents(searcher))
            probe(index, searcher, every)
            for segment, number, each in every:
                path = plain_path(each.path, self._prefixes)
                if path is None:
                    raise DamagedError("full text: a path that leads elsewhere")
                read.append(each if path == each.path else each._replace(path=path))
                addresses.append((segment, number))
            signatures = files.signatures
        self._documents, self._addresses, self._text_files = read, addresses, signatures

    def write(self, engines: Collection[str]) -> None:
        """Make the chunks of these engines.  Raises `ValueError` for lines that do not exist."""
        points: dict[str, list[tuple[int, Point]]] = defaultdict(list)
        for label, point in self._points.items() if "semantic" in engines else ():
            points[point.path].append((label, point))
        documents: dict[str, list[Document]] = defaultdict(list)
        for each in self._documents if "fts" in engines else ():
            documents[each.path].append(each)
        left_out = missing = 0
        with self._job.above.make(self._job.name) as target, CatalogueWriter(target) as writer:
            for working, blobs in self._contents(sorted({*points, *documents}), points):
                for path, now in working.items():
                    try:
                        found, nowhere = rows_of(path, points[path], documents[path], now, blobs)
                    except ValueError:
                        self._suspect(label for label, _ in points[path])
                        raise
                    left_out += nowhere
                    missing += now.data is None and bool(found)
                    for rows in found:
                        writer.add(rows)
            writer.save(self._places, self._addresses if "fts" in engines else [])
            watched = [self._watched[engine] for engine in self.problems]
            self.record = {
                "problems": self.problems,
                "watched": {path: seen for each in watched for path, seen in each.items()},
                "passing": sorted(self._passing & self.problems.keys()),
                "files": writer.file_count,
                "chunks": writer.chunk_count,
                "dim": self._dim,
                "vectors": self._vectors,
                "points": sum(map(len, points.values())),
                "documents": sum(map(len, documents.values())),
                "text_files": self._text_files,
                "left_out": left_out,
                "missing_files": missing,
                "is_stale": self._is_stale,
            }

    def _contents(
        self, paths: list[str], points: dict[str, list[tuple[int, Point]]]
    ) -> Iterator[tuple[dict[str, Working], dict[str, bytes]]]:
        """The files at `paths` as they are now, each read once, some at a time; and the blobs of
        the versions of them that the points are of, and that are not these."""
        committed = Committed(self._root, self._runtime)
        files: dict[str, Working] = {}
        wanted: set[str] = set()
        size = 0
        for path, now in self._files(paths):
            files[path] = now
            size += len(now.data or b"")
            versions = {p.blob: p for _, p in points.get(path, ()) if p.text is None and p.blob}
            wanted |= {blob for blob, p in versions.items() if not is_version(p, now)}
            if size >= _AT_ONCE_BYTES or len(wanted) >= AT_ONCE:
                yield files, committed.read(wanted)
                files, wanted, size = {}, set(), 0
        yield files, committed.read(wanted)

    def _files(self, paths: list[str]) -> Iterator[tuple[str, Working]]:
        folders = Folders(self._root)
        try:
            for path in paths:
                folder, _, name = path.rpartition("/")
                data = None
                with suppress(OSError):
                    data = folders.read(f"{folder}/" if folder else "", name, _MAX_FILE_BYTES)
                is_small = data is not None and len(data) <= _MAX_FILE_BYTES
                yield path, Working(data if is_small else None)
        finally:
            folders.close()

    def _find_prefixes(self) -> tuple[str, ...]:
        """What absolute paths begin with that mean this project."""
        with suppress(OSError, UntrustedError), tree.opened(self._root) as own:
            config, _ = tree.read_whole(own, "config.json", _MAX_CONFIG_BYTES)
            if (named := codebase(config)) is not None:
                return (f"{self._root}/", f"{named.rstrip('/')}/")
        return (f"{self._root}/",)


def _whole(directory: Directory, name: str) -> bytes:
    try:
        return tree.read_whole(directory, name, _MAX_META_BYTES)[0]
    except FileNotFoundError:
        raise TornError(f"{name}: missing") from None
