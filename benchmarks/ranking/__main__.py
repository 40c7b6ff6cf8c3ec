"""Ask every repository its questions, and print the marks; see `--help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cidx_ref
from cidx_ref.places import INDEX_DIRECTORY, STATE_DIRECTORY
from ranking import documented
from ranking.fetch import CACHE, UnavailableError, default_cache, fetched
from ranking.judge import DEPTH, distinct, ndcg
from ranking.questions import PARTS, QUESTIONS, Repository, faults, repositories
from ranking.systems import Asked, asked
from ranking.tables import differences, table
from ranking.unpack import UnsafeArchiveError, unpack

#: Hits among which ten files are looked for.
_MANY = 100
#: Functions of a repository: fewer tell nothing.
_FEW = 20


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    # Read first: it may be the file that is written.
    before = json.loads(options.beside.read_text("utf-8")) if options.beside else None
    chosen = repositories(options.questions)
    if wrong := faults(chosen):
        print(*wrong, sep="\n", file=sys.stderr)
        return 2
    if options.part != "all":
        chosen = [repository for repository in chosen if repository.part == options.part]
    if options.only:
        chosen = [repository for repository in chosen if repository.id in options.only]
    if options.documented:
        found = _documented(chosen, options.cache)
        print(documented.table(found))
        return 0 if found else 2
    report = _asked_all(chosen, options.cache)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1), "utf-8")
    print(table(report))
    if before is not None:
        print(differences(report, before))
    return 0 if report["questions"] else 2


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ranking", description=__doc__)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all", help="which half")
    parser.add_argument("--only", action="append", metavar="ID", help="this repository; repeatable")
    parser.add_argument(
        "--json", type=Path, default=Path("reports/ranking.json"), metavar="FILE",
        help="where the marks are written to (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--questions", type=Path, default=QUESTIONS, metavar="DIR", help="others than those here"
    )
    parser.add_argument(
        "--documented", action="store_true",
        help="ask for functions by their comments instead, and print how often they are found",
    )  # fmt: skip
    parser.add_argument("--beside", type=Path, metavar="FILE", help="such a file of an earlier run")
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), metavar="DIR",
        help=f"where the archives are kept (default: {CACHE}, or in the user's cache)",
    )  # fmt: skip
    return parser.parse_args(arguments)


def _asked_all(chosen: Sequence[Repository], cache: Path) -> dict[str, Any]:
    """What goes into the JSON file, and all tables are made of."""
    told: dict[str, Any] = {}
    records: list[dict[str, Any]] = []
    for repository, tree in _unpacked(chosen, cache):
        about = {"language": repository.language, "part": repository.part}
        if isinstance(tree, str):
            told[repository.id] = {**about, "skipped": tree}
            continue
        with asked(tree) as ready:
            told[repository.id] = {**about, **_told(repository, ready)}
            records += _marked(repository, ready)
    return {"version": cidx_ref.__version__, "repositories": told, "questions": records}


def _documented(
    chosen: Sequence[Repository], cache: Path
) -> dict[str, dict[str, documented.Marks]]:
    """By repository and mode; those with few comments are left out."""
    found = {}
    for repository, tree in _unpacked(chosen, cache):
        functions = [] if isinstance(tree, str) else documented.strip(tree)
        if isinstance(tree, str) or len(functions) < _FEW:
            continue
        with asked(tree) as ready:
            found[repository.id] = {
                mode: documented.marks(functions, ask) for mode, ask in ready.places.items()
            }
    return found


def _unpacked(chosen: Sequence[Repository], cache: Path) -> Iterator[tuple[Repository, Path | str]]:
    """Each with its tree, which is there until the next one; or why there is none."""
    with _own_place() as folder:
        for number, repository in enumerate(chosen, 1):
            print(f"{number} of {len(chosen)}: {repository.id}", file=sys.stderr, flush=True)
            try:
                archive = fetched(repository, cache)
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    unpack(archive, Path(place, "tree"))
                    yield repository, Path(place, "tree")
            except (UnavailableError, UnsafeArchiveError) as error:
                print(f"  skipped: {error}", file=sys.stderr)
                yield repository, str(error)


@contextmanager
def _own_place() -> Iterator[str]:
    """A directory for trees and state: nothing is written into the home of the user, and what is
    configured there says nothing here."""
    with tempfile.TemporaryDirectory(prefix="cidx-ref-ranking-") as folder:
        state = Path(folder, "state")
        state.mkdir(mode=0o700)
        with patch.dict(os.environ, {STATE_DIRECTORY: str(state), INDEX_DIRECTORY: ""}):
            yield folder


def _told(repository: Repository, ready: Asked) -> dict[str, Any]:
    wanted = {path for question in repository.questions for path in question.wanted}
    return {
        "files": len(ready.files),
        "chunks": ready.chunks,
        "not_indexed": sorted(wanted - ready.files),
    }


def _marked(repository: Repository, ready: Asked) -> list[dict[str, Any]]:
    """Each question with its marks.  What was found instead is kept of the half for choosing: the
    other is for reporting only."""
    records = []
    for question in repository.questions:
        wanted = question.wanted
        firsts = {name: ask(question.text, DEPTH) for name, ask in ready.systems.items()}
        manys = {name: ask(question.text, _MANY) for name, ask in ready.systems.items()}
        record: dict[str, Any] = {
            "repository": repository.id,
            "language": repository.language,
            "part": repository.part,
            "kind": question.kind,
            "text": question.text,
            "ndcg": {name: ndcg(paths, wanted) for name, paths in firsts.items()},
            "ndcg_of_files": {name: ndcg(distinct(paths), wanted) for name, paths in manys.items()},
            "ndcg_without": {
                mode: {name: ndcg(ask(question.text, DEPTH), wanted) for name, ask in each.items()}
                for mode, each in ready.without.items()
            },
        }
        if repository.part == "choose":
            record["found"] = firsts
        records.append(record)
    return records


if __name__ == "__main__":
    sys.exit(main())
