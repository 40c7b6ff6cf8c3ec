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
import rpyc
import tantivy
from rpyc.utils.server import ThreadedServer

from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.fulltext import _schema
from cidx_ref.index.generation import Generations
from cidx_ref.index.query import Query
from cidx_ref.index.snippet import Probes
from cidx_ref.index.store import ChunkStore, StoredChunk
from cidx_ref.index.text import terms
from cidx_ref.project import Project

K = 10
Snippet = Callable[[StoredChunk], str]


def first_lines(chunk: StoredChunk) -> str:
    return "\n".join(chunk.text.split("\n")[:5])


def chosen_lines(text: str) -> Snippet:
    probes = Probes(Query(text))
    return lambda chunk: probes.cut(chunk)[1]


class Bare(rpyc.Service):  # type: ignore[misc]
    """`fts` and `semantic` answer the ten best as JSON, each with its first five lines, or with the
    five that the daemon would show; `null` repeats the last answer."""

    def __init__(self, directory: Path) -> None:
        self.chunks = ChunkStore(directory)
        self.embedder = HashingEmbedder()
        self.vectors = hnswlib.Index(space="cosine", dim=self.embedder.dim)
        self.vectors.load_index(str(directory / "vectors.hnsw"))
        self.vectors.set_ef(256)
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
        numbers: list[Any] = self.searcher.fast_field_values(
            "chunk", [address for _, address in hits]
        )
        ranking = ((int(n), score) for n, (score, _) in zip(numbers, hits, strict=True))
        return self.dump(ranking, snippet)

    def semantic(self, text: str, snippet: Snippet) -> str:
        labels, distances = self.vectors.knn_query(
            self.embedder.embed_query(text), k=min(K, len(self.chunks))
        )
        ranking = ((int(n), 1 - d) for n, d in zip(labels[0], distances[0].tolist(), strict=True))
        return self.dump(ranking, snippet)

    def dump(self, ranking: Any, snippet: Snippet) -> str:
        hits = []
        for number, score in ranking:
            chunk = self.chunks.read(number)
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
