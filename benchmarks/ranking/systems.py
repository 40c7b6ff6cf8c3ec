"""Who is asked: this project in its modes, and two baselines that know nothing of code.

Each is a function of a question and of how many hits are wanted, and gives their paths, best first.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tantivy

from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.live import LiveChunks
from cidx_ref.index.port import MODES, Search
from cidx_ref.index.rank import SIGNALS, WEIGHTS, Weights
from cidx_ref.index.search import Snapshot, answer
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from ranking.documented import Hit

__all__ = ["Ask", "Asked", "asked"]

Ask = Callable[[str, int], list[str]]

#: What says nothing in a question, for the baseline that has no weights of its own.
_STOP_WORDS = frozenset(
    "a an and are as at be by do does for from get gets has have how if in into is it its of on or "
    "that the their them then this to was were what when where which who why with".split()
)


@dataclass(frozen=True)
class Asked:
    """One repository, ready to be asked, and what its index has."""

    systems: dict[str, Ask]
    #: By mode, this project's hits with their lines.
    places: Mapping[str, Callable[[str, int], list[Hit]]]
    files: frozenset[str]
    chunks: int
    #: By mode and signal, this project without that signal.
    without: dict[str, dict[str, Ask]]


@contextmanager
def asked(root: Path) -> Iterator[Asked]:
    """Index the tree at `root`, and ask it."""
    project = Project.at(root)
    embedder = HashingEmbedder()
    bring_up_to_date(project, embedder)
    generations = GenerationSource(project.generations, embedder)
    snapshot = generations.load(generations.current())
    try:
        places = {mode: partial(_hits, snapshot, embedder, mode) for mode in MODES}
        ours = {mode: partial(_paths, find) for mode, find in places.items()}
        systems: dict[str, Ask] = {**ours, "bm25": Bm25(snapshot.chunks).ask}
        if program := shutil.which("rg"):
            systems["ripgrep"] = partial(_ripgrep, program, root)
        without: dict[str, dict[str, Ask]] = {
            mode: {
                signal: partial(_paths, partial(places[mode], weights=WEIGHTS.without(signal)))
                for signal in SIGNALS
            }
            for mode in ("hybrid", "fts")
        }
        chunks = snapshot.chunks
        files = frozenset(chunks.place_of(number)[0] for number in range(chunks.places))
        yield Asked(systems, places, files, len(chunks), without)
    finally:
        snapshot.close()


def _paths(find: Callable[[str, int], list[Hit]], question: str, limit: int) -> list[str]:
    return [path for path, *_ in find(question, limit)]


def _hits(
    snapshot: Snapshot,
    embedder: HashingEmbedder,
    mode: str,
    question: str,
    limit: int,
    weights: Weights = WEIGHTS,
) -> list[Hit]:
    hits = answer(snapshot, Search(question, mode, limit), embedder, weights=weights)["results"]
    return [(hit["path"], hit["line_start"], hit["line_end"]) for hit in hits]


class Bm25:
    """Path and text of the same chunks, as tantivy takes them by default: no analysis of ours."""

    def __init__(self, chunks: LiveChunks) -> None:
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text")
        builder.add_text_field("path", stored=True, tokenizer_name="raw")
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema)
        writer = self._index.writer(64_000_000, 1)
        for number in range(chunks.places):
            chunk = chunks.read(number)
            document = tantivy.Document()
            document.add_text("text", f"{chunk.path}\n{chunk.text}")
            document.add_text("path", chunk.path)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()
        # What the default tokenizer does.
        simple = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        filters = (tantivy.Filter.remove_long(40), tantivy.Filter.lowercase())
        self._analyzer = simple.filter(filters[0]).filter(filters[1]).build()

    def ask(self, question: str, limit: int) -> list[str]:
        words = dict.fromkeys(self._analyzer.analyze(question))
        terms = [tantivy.Query.term_query(self._schema, "text", word) for word in words]
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])
        hits = self._searcher.search(query, limit).hits
        return [str(self._searcher.doc(address).get_first("path")) for _, address in hits]


def _ripgrep(program: str, root: Path, question: str, limit: int) -> list[str]:
    """The files with the most lines in which a word of the question stands."""
    words = [word for word in re.findall(r"\w+", question) if word.lower() not in _STOP_WORDS]
    if not words:
        return []
    options = "--no-config --no-messages --ignore-case --fixed-strings --count --null".split()
    done = subprocess.run(
        [program, *options, *(f"--regexp={word}" for word in words), "./"],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,  # 1: nothing found
    )
    counted = [line.split("\0") for line in done.stdout.splitlines() if "\0" in line]
    counted.sort(key=lambda line: (-int(line[1]), line[0]))
    return [path.removeprefix("./") for path, _ in counted[:limit]]
