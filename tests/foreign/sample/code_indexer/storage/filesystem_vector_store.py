"""A small stand-in for the store that the service reads: a bag of words for each file."""

import json
import math
import re
import shutil
import time
from collections import Counter
from pathlib import Path

WORD = re.compile(r"[a-z0-9]+")

#: What the model, the graph and the loading take; of a real repository it would be more.
EMBEDDING_S = 0.5
GRAPH_S = 0.25
LOADING_S = 1.0


def embed(text):
    words = Counter(WORD.findall(text.lower()))
    norm = math.sqrt(sum(count * count for count in words.values())) or 1.0
    return {word: count / norm for word, count in words.items()}


class FilesystemVectorStore:
    """`index/vectors.json`: the vectors, and what they are of."""

    def __init__(self, project_path):
        self.index_dir = Path(project_path) / ".code-indexer" / "index"
        # One read: both parts are of the same index.
        self._data = (self.index_dir / "vectors.json").read_text()

    def _load_hnsw_index(self):
        vectors = json.loads(self._data)["vectors"]
        time.sleep(LOADING_S)
        return vectors

    def _load_id_mapping(self):
        return json.loads(self._data)["chunks"]


def source_files(project_path):
    """What was edited last is wanted first."""
    paths = [
        path
        for path in Path(project_path).rglob("*.py")
        if not any(part.startswith(".") for part in path.relative_to(project_path).parts)
    ]
    return sorted(paths, key=lambda path: (-path.stat().st_mtime_ns, path))


def build(project_path, callback=None):
    """Index the project: embed, remove the old index, make the new one."""
    home = Path(project_path) / ".code-indexer"
    # Vectors are many: until all are there they go to a file.
    scratch = home / "embedding.tmp"
    scratch.unlink(missing_ok=True)
    paths = source_files(project_path)
    for number, path in enumerate(paths):
        text = path.read_text(errors="replace")
        time.sleep(EMBEDDING_S / len(paths))
        chunk = {
            "path": path.relative_to(project_path).as_posix(),
            "line_start": 1,
            "line_end": max(1, len(text.splitlines())),
            "snippet": text,
        }
        with scratch.open("a") as file:
            file.write(json.dumps([embed(text), chunk]) + "\n")
        if callback is not None:
            callback(number + 1, len(paths))
    rows = [json.loads(line) for line in scratch.read_text().splitlines()]
    scratch.unlink()
    shutil.rmtree(home / "index", ignore_errors=True)
    time.sleep(GRAPH_S)
    data = {"vectors": [row[0] for row in rows], "chunks": [row[1] for row in rows]}
    (home / "index").mkdir(exist_ok=True)
    (home / "index" / "vectors.json").write_text(json.dumps(data))
    return data["chunks"]
