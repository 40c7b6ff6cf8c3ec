"""The daemon of the story, from its own sample code.

What the sample leaves out is filled in at the end of the class, as briefly as it goes.  Nothing
that the sample has was changed: its mistakes are here, too.
"""

import logging
import shutil
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock, RLock

import rpyc
from rpyc.utils.server import ThreadedServer

logger = logging.getLogger("daemon")


class CIDXDaemonService(rpyc.Service):
    def __init__(self):
        # Single project cache (daemon is per-repository)
        self.cache_entry = None
        self.cache_lock = RLock()

    class CacheEntry:
        def __init__(self, project_path):
            self.project_path = project_path
            # Semantic index cache
            self.hnsw_index = None
            self.id_mapping = None
            # FTS index cache
            self.tantivy_index = None
            self.tantivy_searcher = None
            self.fts_available = False
            # Shared metadata
            self.last_accessed = datetime.now()
            self.ttl_minutes = 10  # Default 10 minutes
            self.read_lock = RLock()  # For concurrent reads
            self.write_lock = Lock()  # For serialized writes
            self.access_count = 0

    def exposed_query(self, project_path, query, limit=10, **kwargs):
        """Execute semantic search with caching."""
        project_path = Path(project_path).resolve()

        # Get or create cache entry
        with self.cache_lock:
            if self.cache_entry is None:
                self.cache_entry = self.CacheEntry(project_path)

        # Concurrent read with RLock
        with self.cache_entry.read_lock:
            # Load indexes if not cached
            if self.cache_entry.hnsw_index is None:
                self._load_indexes(self.cache_entry)

            # Update access time
            self.cache_entry.last_accessed = datetime.now()
            self.cache_entry.access_count += 1

            # Perform search
            results = self._execute_search(
                self.cache_entry.hnsw_index, self.cache_entry.id_mapping, query, limit
            )

        return results

    def exposed_query_fts(self, project_path, query, **kwargs):
        """Execute FTS search with caching."""
        project_path = Path(project_path).resolve()

        # Get or create cache entry
        with self.cache_lock:
            if self.cache_entry is None:
                self.cache_entry = self.CacheEntry(project_path)

        # Concurrent read with RLock
        with self.cache_entry.read_lock:
            # Load Tantivy index if not cached
            if self.cache_entry.tantivy_searcher is None:
                self._load_tantivy_index(self.cache_entry)

            if not self.cache_entry.fts_available:
                return {"error": "FTS index not available for this project"}

            # Update access time (shared TTL)
            self.cache_entry.last_accessed = datetime.now()
            self.cache_entry.access_count += 1

            # Perform FTS search
            results = self._execute_fts_search(self.cache_entry.tantivy_searcher, query, **kwargs)

        return results

    def exposed_query_hybrid(self, project_path, query, **kwargs):
        """Execute parallel semantic + FTS search."""
        import concurrent.futures

        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as executor:
            semantic_future = executor.submit(self.exposed_query, project_path, query, **kwargs)
            fts_future = executor.submit(self.exposed_query_fts, project_path, query, **kwargs)
            semantic_results = semantic_future.result()
            fts_results = fts_future.result()

        return self._merge_hybrid_results(semantic_results, fts_results)

    def exposed_index(self, project_path, callback=None, **kwargs):
        """Perform indexing with serialized writes."""
        project_path = Path(project_path).resolve()

        # Get or create cache entry
        with self.cache_lock:
            if self.cache_entry is None:
                self.cache_entry = self.CacheEntry(project_path)

        # Serialized write with Lock
        with self.cache_entry.write_lock:
            # Perform indexing
            self._perform_indexing(project_path, callback, **kwargs)

            # Invalidate cache
            self.cache_entry.hnsw_index = None
            self.cache_entry.id_mapping = None
            self.cache_entry.tantivy_index = None
            self.cache_entry.tantivy_searcher = None
            self.cache_entry.last_accessed = datetime.now()

        return {"status": "completed", "project": str(project_path)}

    def exposed_get_status(self):
        """Return daemon and cache statistics."""
        with self.cache_lock:
            if self.cache_entry is None:
                return {"running": True, "cache_empty": True}

            return {
                "running": True,
                "project": str(self.cache_entry.project_path),
                "semantic_cached": self.cache_entry.hnsw_index is not None,
                "fts_available": self.cache_entry.fts_available,
                "fts_cached": self.cache_entry.tantivy_searcher is not None,
                "last_accessed": self.cache_entry.last_accessed.isoformat(),
                "access_count": self.cache_entry.access_count,
                "ttl_minutes": self.cache_entry.ttl_minutes,
            }

    def exposed_clear_cache(self):
        """Clear cache for project."""
        with self.cache_lock:
            self.cache_entry = None
            return {"status": "cache cleared"}

    def _load_indexes(self, entry):
        """Load HNSW and ID mapping indexes."""
        # Implementation from filesystem_vector_store.py
        from code_indexer.storage.filesystem_vector_store import FilesystemVectorStore

        vector_store = FilesystemVectorStore(entry.project_path)
        entry.hnsw_index = vector_store._load_hnsw_index()
        entry.id_mapping = vector_store._load_id_mapping()

    def _load_tantivy_index(self, entry):
        """Load Tantivy FTS index into cache."""
        tantivy_index_dir = entry.project_path / ".code-indexer" / "tantivy_index"

        if not tantivy_index_dir.exists():
            entry.fts_available = False
            return

        try:
            # Lazy import tantivy
            import tantivy

            entry.tantivy_index = tantivy.Index.open(str(tantivy_index_dir))
            entry.tantivy_searcher = entry.tantivy_index.searcher()
            entry.fts_available = True
        except (ImportError, Exception):
            entry.fts_available = False

    # What the sample does not show.

    def _execute_search(self, hnsw_index, id_mapping, query, limit):
        from code_indexer.storage.filesystem_vector_store import embed

        asked = embed(query)
        found = []
        for vector, chunk in zip(hnsw_index, id_mapping, strict=True):
            score = sum(weight * vector.get(word, 0.0) for word, weight in asked.items())
            if score > 0:
                found.append({**chunk, "score": score})
        found.sort(key=lambda hit: -hit["score"])
        return found[:limit]

    def _execute_fts_search(self, searcher, query, limit=10, **kwargs):
        parsed = self.cache_entry.tantivy_index.parse_query(query, ["content"])
        found = []
        for score, address in searcher.search(parsed, limit).hits:
            document = searcher.doc(address)
            text = document.get_first("content")
            found.append(
                {
                    "path": document.get_first("path"),
                    "line_start": 1,
                    "line_end": max(1, len(text.splitlines())),
                    "snippet": text,
                    "score": score,
                }
            )
        return found

    def _merge_hybrid_results(self, semantic_results, fts_results):
        if isinstance(fts_results, dict):
            fts_results = []
        merged = {}
        for results in (semantic_results, fts_results):
            for rank, hit in enumerate(results):
                kept = merged.setdefault(hit["path"], {**hit, "score": 0.0})
                kept["score"] += 1 / (10 + rank)
        return {
            "results": sorted(merged.values(), key=lambda hit: -hit["score"]),
            "semantic_count": len(semantic_results),
            "fts_count": len(fts_results),
        }

    def _perform_indexing(self, project_path, callback, **kwargs):
        perform_indexing(project_path, callback)


def perform_indexing(project_path, callback=None):
    """Both indexes, in place."""
    import tantivy
    from code_indexer.storage import filesystem_vector_store

    tantivy_index_dir = project_path / ".code-indexer" / "tantivy_index"
    shutil.rmtree(tantivy_index_dir, ignore_errors=True)
    chunks = filesystem_vector_store.build(project_path, callback)
    tantivy_index_dir.mkdir(exist_ok=True)
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("path", stored=True, tokenizer_name="raw")
    builder.add_text_field("content", stored=True)
    index = tantivy.Index(builder.build(), path=str(tantivy_index_dir))
    writer = index.writer(15_000_000, 1)
    for chunk in chunks:
        writer.add_document(tantivy.Document(path=chunk["path"], content=chunk["snippet"]))
    writer.commit()
    writer.wait_merging_threads()


def start_daemon(config_path: Path):
    """Start daemon with socket binding as lock."""
    socket_path = config_path.parent / "daemon.sock"

    try:
        # Socket binding is atomic lock mechanism
        server = ThreadedServer(
            CIDXDaemonService,
            socket_path=str(socket_path),
            protocol_config={"allow_public_attrs": True, "allow_pickle": False},
        )
        server.start()
    except OSError as e:
        if "Address already in use" in str(e):
            # Daemon already running - this is fine
            logger.info("Daemon already running")
            sys.exit(0)
        raise


class CacheEvictionThread(threading.Thread):
    def __init__(self, daemon_service, check_interval=60):
        super().__init__(daemon=True)
        self.daemon_service = daemon_service
        self.check_interval = check_interval  # 60 seconds
        self.running = True

    def run(self):
        """Background thread for TTL-based eviction."""
        while self.running:
            try:
                self._check_and_evict()
                threading.Event().wait(self.check_interval)
            except Exception as e:
                logger.error(f"Eviction thread error: {e}")

    def _check_and_evict(self):
        """Check cache entry and evict if expired."""
        now = datetime.now()

        with self.daemon_service.cache_lock:
            if self.daemon_service.cache_entry:
                entry = self.daemon_service.cache_entry
                ttl_delta = timedelta(minutes=entry.ttl_minutes)
                if now - entry.last_accessed > ttl_delta:
                    logger.info("Evicting cache (TTL expired)")
                    self.daemon_service.cache_entry = None

                    # Check if auto-shutdown enabled
                    config = self._load_config()
                    if config.get("daemon", {}).get("auto_shutdown_on_idle", True):
                        logger.info("Auto-shutdown on idle")
                        self.daemon_service.shutdown()

    def stop(self):
        self.running = False


def main():
    """`daemon_service.py serve PROJECT`, or `index PROJECT`."""
    logging.basicConfig(level=logging.INFO)
    verb, project = sys.argv[1], Path(sys.argv[2]).resolve()
    config_path = project / ".code-indexer" / "config.json"
    config_path.parent.mkdir(exist_ok=True)
    if verb == "index":
        perform_indexing(project)
    else:
        start_daemon(config_path)


if __name__ == "__main__":
    main()
