"""Parts of a daemon, judged in this process: caches, locks, claims.

Each check is a plain function that is given a function which makes the part, and returns findings:

    check_cache(make_cache)   check_ttl(make_cache)   check_lock(make_lock)
    check_claim(make_claim)

From the shell, and to see one finding again:

    python -m cidx_ref.testing.conformance.parts cache mine:make_cache
    python -m cidx_ref.testing.conformance.parts cache mine:make_cache "TwoQueries" "3:1 9:1"
"""
