"""How this daemon searches, as far as no other daemon has promised it in the same words: code-aware
terms, filters, phrases.

They are among `own.conformance.TARGET.checks`, and run like the kit's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Asker
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.subject import Daemon

__all__ = ["CHECKS"]

_RARE = "periwinkle"


@contextmanager
def _serving(bench: Bench, promise: str, files: dict[str, str]) -> Iterator[tuple[Daemon, Asker]]:
    """A daemon of the usual files and these."""
    project = bench.project()
    for name, text in files.items():
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    with bench.daemon(project) as daemon, bench.showing(promise), daemon.connect(30.0) as asker:
        yield daemon, asker


def _paths(asker: Asker, query: str, method: str = "query_fts", **options: Any) -> list[str]:
    given = {"project_path": str(asker.root), "query": query, **options}
    return [str(hit["path"]) for hit in asker.call(method, **given)["results"]]


def _many(word: str, count: int) -> dict[str, str]:
    """Files that have a word once, and much else."""
    filler = " ".join(corpus.marker(number) for number in range(100, 140))
    return {
        f"many/a{corpus.marker(number)}.py": f"# {word} {filler}\n"
        for number in range(200, 200 + count)
    }


@check("code-aware", "QRY-2")
def code_aware(bench: Bench) -> None:
    """Identifiers are found by their parts, and a phrase only where it stands."""
    files = {
        "parts.py": "def parsePeriwinkleHeaders():\n    pass\n",
        "phrase.py": "# marigold tulip\n",
        "apart.py": "# marigold, tulip\n",
    }
    with _serving(bench, "QRY-2", files) as (_, asker):
        assert _paths(asker, "periwinkle headers")[:1] == ["parts.py"], (
            "`parsePeriwinkleHeaders` is not found by `periwinkle headers`"
        )
        found = _paths(asker, '"marigold tulip"')
        assert found == ["phrase.py"], f"a phrase that stands in phrase.py finds {found}"


@check("best-matches", "QRY-2")
def best_matches(bench: Bench) -> None:
    """Of many matches the best are told, and with a filter the best of what it lets through."""
    files = {
        **_many(_RARE, 40),
        "zz/best.py": f"def {_RARE}():\n    # {_RARE} {_RARE} {_RARE}\n    pass\n",
        "zz/other.md": f"much else, and {' '.join(corpus.marker(n) for n in range(60))} {_RARE}\n",
    }
    with _serving(bench, "QRY-2", files) as (_, asker):
        found = _paths(asker, _RARE, limit=3)
        assert found[:1] == ["zz/best.py"], (
            f"the best of 42 matches is zz/best.py, told are {found}"
        )
        for name, value in {"paths": "*.md", "languages": "markdown"}.items():
            options: dict[str, Any] = {name: [value]}
            found = _paths(asker, _RARE, limit=3, **options)
            assert found == ["zz/other.md"], f"{name} lets zz/other.md through, told are {found}"
        found = _paths(asker, _RARE, limit=50, exclude_paths=["many/*"])
        assert set(found) == {"zz/best.py", "zz/other.md"}, f"without many/*, told are {found}"


@check("nearest-first", "QRY-1")
def nearest_first(bench: Bench) -> None:
    """The scores fall, and what shares no word with the query is no hit."""
    with _serving(bench, "QRY-1", _many(_RARE, 20)) as (_, asker):
        for query, path in corpus.QUESTIONS[:10]:
            answer = asker.call("query", project_path=str(asker.root), query=query, limit=10)
            scores = [hit["score"] for hit in answer["results"]]
            assert scores == sorted(scores, reverse=True), f"{query!r} has the scores {scores}"
            assert answer["results"][0]["path"] == path, f"{query!r} is nearest to {path}"
            strange = [hit for hit in answer["results"] if not _shares(asker.root, hit, query)]
            assert not strange, f"{query!r} finds {strange[0]['path']}, with none of its words"
            bench.tried("QRY-1", 1, "queries")


def _shares(root: Path, hit: dict[str, Any], query: str) -> bool:
    text = (root / hit["path"]).read_text("utf-8") + hit["path"]
    return any(word[:4] in text for word in query.split())


@check("literal-marks", "QRY-4")
def literal_marks(bench: Bench) -> None:
    """What is nothing but punctuation is found, and a phrase that nothing has empties no answer."""
    with _serving(bench, "QRY-4", {"marks.py": "x = a ->>! b\n"}) as (_, asker):
        assert _paths(asker, "->>!") == ["marks.py"], "`->>!` stands in marks.py, and is not found"
        found = _paths(asker, '"no such phrase" lantern')
        assert "harbour.py" in found, f"with a phrase that nothing has, `lantern` finds {found}"


CHECKS: tuple[Check, ...] = (nearest_first, code_aware, best_matches, literal_marks)
