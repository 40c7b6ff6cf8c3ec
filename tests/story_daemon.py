"""`python story_daemon.py serve --project DIR [DEFECT]`: the story's sample, as somebody has it who
has filled in what it leaves out.

One service for each connection, answers by reference, full text as a bare list, and an index that
`index` makes.  It knows nothing of this package.
"""

# ruff: noqa: TID251  - a stranger's program takes threads where it finds them

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from threading import RLock
from typing import Any

import rpyc
from rpyc.utils.server import ThreadedServer


class CIDXDaemonService(rpyc.Service):  # type: ignore[misc]
    lock = RLock()
    #: The words of each file.
    words: dict[str, set[str]] | None = None
    defect = ""

    def exposed_query(self, project_path: str, query: str, limit: int = 10, **kwargs: Any) -> Any:
        hits = self._execute_search(project_path, query, limit)
        return {"results": hits, "mode": "semantic"}

    def exposed_query_fts(self, project_path: str, query: str, **kwargs: Any) -> Any:
        if CIDXDaemonService.words is None:
            return {"error": "FTS index not available for this project"}
        return self._execute_search(project_path, query, kwargs.get("limit", 10))

    def exposed_query_hybrid(self, project_path: str, query: str, **kwargs: Any) -> Any:
        found = self._execute_search(project_path, query, kwargs.get("limit", 10))
        return {"results": found, "semantic_count": len(found), "fts_count": len(found)}

    def exposed_index(self, project_path: str, callback: Any = None, **kwargs: Any) -> Any:
        root = Path(project_path)
        with self.lock:
            words = {
                path.relative_to(root).as_posix(): re.findall(r"\w+", path.read_text("utf-8"))
                for path in root.rglob("*.py")
            }
            (root / ".code-indexer" / "words.json").write_text(json.dumps(words))
            CIDXDaemonService.load(root)
        return {"status": "completed", "project": project_path}

    def exposed_get_status(self) -> Any:
        return {"running": True, "cache_empty": self.words is None}

    def exposed_clear_cache(self) -> Any:
        return {"status": "cache cleared"}

    @classmethod
    def load(cls, root: Path) -> None:
        words = json.loads((root / ".code-indexer" / "words.json").read_bytes())
        cls.words = {path: set(words[path]) for path in words}

    def _execute_search(self, root: str, query: str, limit: int) -> list[dict[str, Any]]:
        with self.lock:
            wanted = set(query.split())
            scored = [(len(wanted & words), path) for path, words in (self.words or {}).items()]
        best = sorted(((score, path) for score, path in scored if score), reverse=True)[:limit]
        if self.defect == "elsewhere":
            best = [(score, "elsewhere.py") for score, _ in best]
        return [{"file_path": str(Path(root, path)), "score": score} for score, path in best]


def main(argv: list[str]) -> None:
    root = Path(argv[2])
    CIDXDaemonService.defect = argv[3] if len(argv) > 3 else ""
    path = root / ".code-indexer" / "daemon.sock"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)  # or none would be started after a kill
    if (path.parent / "words.json").exists():
        CIDXDaemonService.load(root)
    config = {"allow_public_attrs": True, "allow_pickle": False}
    ThreadedServer(CIDXDaemonService, socket_path=str(path), protocol_config=config).start()


if __name__ == "__main__":
    main(sys.argv[1:])
