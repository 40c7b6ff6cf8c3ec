"""A small stand-in for the store that the service reads: a bag of words for each file."""

import json
import math
import re
import shutil
import time
from collections import Counter
from pathlib import Path

WORD = re.compile(r"[a-z0-9]+")

#: The model behind the real store takes longer.
EMBEDDING_S = 0.015
#: So does the graph of a real repository.
LOADING_S = 0.5


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
    for path in sorted(Path(project_path).rglob("*.py")):
        if not any(part.startswith(".") for part in path.relative_to(project_path).parts):
            yield path


def build(project_path, callback=None):
    """Index the project: first the old index goes, then the new one is made."""
    project_path = Path(project_path)
    index_dir = project_path / ".code-indexer" / "index"
    shutil.rmtree(index_dir, ignore_errors=True)
    vectors, chunks = [], []
    paths = list(source_files(project_path))
    for number, path in enumerate(paths):
        text = path.read_text(errors="replace")
        vectors.append(embed(text))
        time.sleep(EMBEDDING_S)
        chunks.append(
            {
                "path": path.relative_to(project_path).as_posix(),
                "line_start": 1,
                "line_end": max(1, len(text.splitlines())),
                "snippet": text,
            }
        )
        if callback is not None:
            callback(number + 1, len(paths))
    index_dir.mkdir(parents=True)
    (index_dir / "vectors.json").write_text(json.dumps({"vectors": vectors, "chunks": chunks}))
    return chunks
