"""What people paste of data (hashes, addresses, UUIDs) is found among thousands of pieces of it."""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import Iterator

import pytest

from cidx_ref.index.belongs import Rules
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.port import Search
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import write

pytestmark = pytest.mark.once

SOURCE = random.Random(11)
HASH = SOURCE.randbytes(20).hex()
SHA512 = SOURCE.randbytes(64).hex()
UUID = str(uuid.UUID(int=SOURCE.getrandbits(128)))
TOKEN = "ghp_" + base64.b64encode(SOURCE.randbytes(24), b"xy").decode()
BLOB = base64.b64encode(SOURCE.randbytes(48)).decode()
WANTED = {
    "hash.txt": HASH,
    "short.txt": "9c2b49b",
    "sha512.txt": SHA512,
    "uuid.txt": UUID,
    "mail.txt": "ada.lovelace+notes@example.org",
    "token.txt": TOKEN,
    "blob.txt": BLOB,
    "number.txt": "4711.081542",
    "within.min.js": "needleInTheHaystack",
}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    root = tmp_path_factory.mktemp("data")

    def noise(count: int) -> str:
        return "\n".join(
            f"{SOURCE.randbytes(20).hex()},{uuid.UUID(int=SOURCE.getrandbits(128))},"
            f"user{SOURCE.randrange(9**9)}@example.org,{SOURCE.random():.6f},"
            + base64.b64encode(SOURCE.randbytes(48)).decode()
            for _ in range(count)
        )

    for number in range(2800):
        write(root, f"rows/{number}.csv", noise(2))
    write(root, "app.js", ";".join(f"a{n}=b{n}.c({n})" for n in range(40_000)))
    for name, data in WANTED.items():
        text = f"{'x=1;' * 4000}{data}(){';y=2' * 4000}" if name.endswith(".js") else data
        write(root, name, f"{text}\n")
    project = Project.at(root)
    embedder = HashingEmbedder()
    assert bring_up_to_date(project, embedder, rules=Rules(include=("*.js",)))["chunks"] > 3000
    generations = GenerationSource(project.generations, embedder)
    loaded = generations.load(generations.current())
    assert isinstance(loaded, IndexSnapshot)
    yield loaded
    loaded.close()


@pytest.mark.promise("QRY-1", "QRY-2", "QRY-3")
@pytest.mark.parametrize("mode", ["fts", "semantic", "hybrid"])
@pytest.mark.parametrize("name", sorted(WANTED))
def test_what_a_person_pastes_is_found_first(snapshot: IndexSnapshot, name: str, mode: str) -> None:
    hit = answer(snapshot, Search(WANTED[name], mode, 3), HashingEmbedder())["results"][0]
    assert hit["path"] == name
    assert WANTED[name] in hit["snippet"], "the match is shown, however long its line is"
    assert max(map(len, hit["snippet"].split("\n"))) <= 300


@pytest.mark.promise("QRY-3")
def test_the_beginning_of_a_hash_finds_it(snapshot: IndexSnapshot) -> None:
    found = answer(snapshot, Search(HASH[:8], "hybrid", 3), HashingEmbedder())["results"]
    assert found[0]["path"] == "hash.txt"
