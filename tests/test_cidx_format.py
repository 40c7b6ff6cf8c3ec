"""The writer of the full cidx's format, held against an index that the full cidx has made."""

from __future__ import annotations

import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cidx_ref.testing.own.cidx_format import DIRECTORY, StandIn, write_index

pytestmark = pytest.mark.once

FIXTURE = Path(__file__).parents[2] / "shared" / "fixtures" / "cidx-11.79-smallproj.tgz"


def described(own: Path) -> dict[str, Any]:
    """What a reader goes by, without what is in it."""
    found = [each for each in (own / "index").iterdir() if (each / "hnsw_index.bin").exists()]
    meta = json.loads((found[0] / "collection_meta.json").read_text())
    header = struct.unpack_from("<6QiI3QdQ", (found[0] / "hnsw_index.bin").read_bytes())
    ids = (found[0] / "id_index.bin").read_bytes()
    point = json.loads(next(found[0].rglob("vector_*.json")).read_text())
    text = json.loads((own / "tantivy_index" / "meta.json").read_text())
    graph = meta["hnsw_index"]
    return {
        "graph": {name: type(value) for name, value in graph.items()},
        "label": type(next(iter(graph["id_mapping"]))),
        "size of an element": header[3] - 4 * graph["vector_dim"],
        "where": (header[0], header[5], header[8:11], header[12]),
        "id": struct.unpack_from("<IH", ids)[1],
        "point": set(point),
        "payload": {"path", "language", "line_start", "line_end", "chunk_index", "git_blob_hash"}
        - set(point["payload"]),
        "depth": len(next(found[0].rglob("vector_*.json")).relative_to(found[0]).parts),
        "fields": {
            each["name"]: (
                each["type"],
                each["options"].get("stored"),
                each["options"].get("indexing"),
            )
            for each in text["schema"]
        },
    }


@pytest.mark.skipif(not FIXTURE.exists(), reason="the full cidx's own index is not here")
def test_what_the_writer_writes_is_laid_out_as_what_the_full_cidx_writes(tmp_path: Path) -> None:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    write_index(tmp_path / "ours", {"a.py": "one\ntwo\n"}, embedder=StandIn(1024))
    theirs = described(tmp_path / "smallproj" / DIRECTORY)
    ours = described(tmp_path / "ours" / DIRECTORY)
    theirs["point"].discard("indexed_with_uncommitted_changes")
    more = theirs["graph"].keys() - ours["graph"].keys()
    assert more == {"filtered", "visible_count", "total_on_disk", "current_branch"}
    for name in more:
        del theirs["graph"][name]
    assert theirs == ours
