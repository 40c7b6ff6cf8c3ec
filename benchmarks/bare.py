"""The floor: what the same answer costs with nothing around it.

A stock RPyC server, the two libraries' own calls on the files of the live generation, and
`json.dumps` of the fields of a hit.  No cache, no locks, no limits, no metrics, no care.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import rpyc
import tantivy
from rpyc.utils.server import ThreadedServer

from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.fulltext import _schema
from cidx_ref.index.generation import Generations
from cidx_ref.index.manifest import GRAPH, MATRIX
from cidx_ref.index.query import Query
from cidx_ref.index.snippet import Probes
from cidx_ref.index.store import ChunkStore
from cidx_ref.index.storing import StoredChunk
from cidx_ref.index.text import terms
from cidx_ref.project import Project

K = 10
Snippet = Callable[[StoredChunk], str]


def first_lines(chunk: StoredChunk) -> str:
    return "\n".join(chunk.text.split("\n")[:5])


def chosen_lines(text: str) -> Snippet:
    probes = Probes(Query(text))
    return lambda chunk: probes.cut(chunk)[1]


class _Part:
    """One segment: a graph, or a matrix."""

    def __init__(self, directory: Path, dim: int) -> None:
        self.chunks = ChunkStore(directory)
        self.graph = None
        if (directory / MATRIX).exists():
            self.matrix = np.fromfile(directory / MATRIX, "<f4").reshape(-1, dim)
            return
        self.graph = hnswlib.Index(space="cosine", dim=dim)
        self.graph.load_index(str(directory / GRAPH))
        self.graph.set_ef(256)

    def nearest(self, vector: Any) -> list[tuple[ChunkStore, int, float]]:
        if self.graph is None:
            scores = self.matrix @ vector
            labels = np.argsort(-scores)[:K]
            return [(self.chunks, int(n), float(scores[n])) for n in labels]
        labels, distances = self.graph.knn_query(vector, k=min(K, len(self.chunks)))
        near = zip(labels[0].tolist(), distances[0].tolist(), strict=True)
        return [(self.chunks, n, 1 - distance) for n, distance in near]


class Bare(rpyc.Service):  # type: ignore[misc]
    """`fts` and `semantic` answer the ten best as JSON, each with its first five lines, or with the
    five that the daemon would show; `null` repeats the last answer."""

    def __init__(self, directory: Path) -> None:
        self.embedder = HashingEmbedder()
        self.segments = [_Part(path, self.embedder.dim) for path in sorted(directory.glob("s*-*"))]
        #: Of each file, by its id, the store and where in it its chunks begin.
        self.files = {
            file.id: (part.chunks, int(part.chunks.firsts[number]))
            for part in self.segments
            for number, file in enumerate(part.chunks.files)
        }
        self.searcher = tantivy.Index.open(str(directory / "fulltext")).searcher()
        self.schema = _schema()
        self.said = ""

    def exposed_fts(self, text: str) -> str:
        return self.fts(text, first_lines)

    def exposed_fts_same_snippets(self, text: str) -> str:
        return self.fts(text, chosen_lines(text))

    def exposed_semantic(self, text: str) -> str:
        return self.semantic(text, first_lines)

    def exposed_semantic_same_snippets(self, text: str) -> str:
        return self.semantic(text, chosen_lines(text))

    def exposed_null(self) -> str:
        return self.said

    def fts(self, text: str, snippet: Snippet) -> str:
        should = tantivy.Occur.Should
        clauses = [(should, tantivy.Query.term_query(self.schema, "body", t)) for t in terms(text)]
        hits = self.searcher.search(tantivy.Query.boolean_query(clauses), K, count=False).hits
        keys: list[Any] = self.searcher.fast_field_values("chunk", [address for _, address in hits])
        ranking = []
        for key, (score, _) in zip(keys, hits, strict=True):
            store, first = self.files[key >> 20]
            ranking.append((store.read(first + (key & 0xFFFFF)), score))
        return self.dump(ranking, snippet)

    def semantic(self, text: str, snippet: Snippet) -> str:
        vector = self.embedder.embed_query(text)
        found = [hit for part in self.segments for hit in part.nearest(vector)]
        best = sorted(found, key=lambda hit: -hit[2])[:K]
        return self.dump(((store.read(n), score) for store, n, score in best), snippet)

    def dump(self, ranking: Any, snippet: Snippet) -> str:
        hits = []
        for chunk, score in ranking:
            hits.append(
                {
                    "path": chunk.path,
                    "line_start": chunk.line_start,
                    "line_end": chunk.line_end,
                    "language": chunk.language,
                    "score": score,
                    "snippet": snippet(chunk),
                    "name": chunk.name,
                }
            )
        self.said = json.dumps({"results": hits})
        return self.said


def main() -> None:
    root, socket = sys.argv[1:]
    generations = Generations(Project.at(root).generations)
    bare = Bare(generations.path(generations.current()))
    server = ThreadedServer(bare, socket_path=socket)
    server._listen()
    print("ready", flush=True)
    server.start()


if __name__ == "__main__":
    main()
