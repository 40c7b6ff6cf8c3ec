"""The zoo as mutants of the kit: our own daemon with each of them in it must not pass.

    cidx-ref verify cidx_ref.testing.own.conformance:TARGET --mutants cidx_ref.testing.own.zoo

A mutant of a part (the cache, the claim) is planted in this process, where all schedules are tried;
any other in a daemon, from outside.  What no door shows is in `UNSEEN`, with the reason: there the
tests of this package must see it, as they must see all.
"""

from __future__ import annotations

from cidx_ref.testing.conformance.mutants import Mutant
from cidx_ref.testing.own import mutants as own
from cidx_ref.testing.own.conformance import mutated

__all__ = ["DAEMONS", "MUTANTS", "PARTS", "SEEN_BY", "UNSEEN"]

#: Seen in a part, in this process.
PARTS = (
    *("everybody_loads", "disk_is_asked_before_the_lock", "failed_load_is_remembered"),
    *("stored_after_a_clear", "stored_after_a_publish", "entry_is_read_again_after_the_lock"),
    *("closed_by_whoever_clears", "waiters_pin_when_they_wake", "other_writers_are_not_noticed"),
    *("query_error_clears_the_cache", "query_error_leaves_a_pin", "evicted_and_not_closed"),
    *("alive_at_the_ttl", "gone_before_the_ttl", "touch_only_at_the_beginning", "evicted_in_use"),
    *("ttl_by_the_wall_clock", "waits_on_a_fresh_event", "probe_unlink_bind"),
)

#: Seen in a daemon, from outside.
DAEMONS = (
    *("a_name_is_taken_for_a_daemon", "lock_file_instead_of_flock", "unlinks_without_a_look"),
    *("lock_is_given_back_first", "looks_whether_there_is_a_socket", "lines_from_nought"),
    *("unknown_arguments_are_ignored", "the_clients_calls_count_twice"),
    *("failed_calls_do_not_count", "fresh_is_a_word", "a_change_is_nobodys_business"),
    *("changes_start_no_run", "writers_do_not_lock", "readers_wait_for_writers"),
    *("unlinked_and_then_linked", "built_in_place", "litter_is_left"),
    *("whatever_is_there_is_used", "right_checksums_are_enough"),
    *("what_is_made_is_for_everybody", "owners_are_not_asked", "bad_values_are_the_defaults"),
    *("idles_unasked", "never_asked_is_never_idle", "late_request_shares_a_run"),
    *("does_not_look", "the_watch_is_blind", "first_come_first_served"),
)

#: Seen in a daemon by a check that is about just this: by its name, the mutants.
_CHECKS = {
    "held-stop": ("stops_under_a_query", "lost_wake_up", "checked_inside"),
    "stop-in-flight": ("late_calls_are_let_in",),
    "not-idle": ("shutdown_with_a_query_in_flight", "idle_since_it_started"),
    "idle-while-asked": ("idle_since_a_call_began",),
    "many-clients": ("rlock_as_read_lock",),
    "slow-query": ("queries_take_turns",),
    "held-starts": (
        *("named_before_it_listens", "claims_a_directory_that_is_gone", "leftovers_stay"),
    ),
    "held-writers": ("lock_on_a_directory_that_is_gone", "half_of_a_run_that_failed_stays"),
    "by-the-clock": (
        *("error_ends_the_clockwork", "checks_late", "failures_are_never_forgotten"),
        *("minutes_are_seconds", "mistakes_are_failures"),
    ),
    "unforeseen-errors": ("bugs_are_not_failures", "bugs_are_told_in_full"),
    "told": (
        *("service_class_instead_of_an_instance", "status_of_what_is_cached"),
        *("index_runs_are_not_told", "the_files_are_not_looked_at"),
        *("half_an_answer_is_none", "half_an_answer_says_nothing"),
    ),
    "log": ("looking_is_using", "the_cache_is_not_logged", "refusals_are_not_logged"),
    "other-programs": ("init_begins_anew",),
    "strangers": (
        *("tracebacks_are_sent", "left_only_in_good_order", "the_callbacks_error_ends_the_build"),
    ),
    "reach": ("public_attributes_are_reachable", "answers_can_be_changed"),
    "lent-things": (
        *("whatever_is_sent_is_called", "the_name_is_believed"),
        *("made_up_errors_are_remembered", "what_is_sent_is_hashed"),
    ),
    "hostile-input": ("bombs_are_inflated", "patient_with_every_byte"),
    "shipped-client": (
        *("answers_by_reference", "asks_who_is_there_every_time", "every_error_is_internal"),
        "connections_survive_a_fork",
    ),
    "embedders-words": ("an_embedders_words_are_passed_on",),
    "keys": (
        *("redirects_are_followed", "a_providers_key_goes_to_any_address"),
        "any_address_may_be_without_tls",
    ),
    "adopted-index": (
        *("a_full_text_is_opened_where_it_lies", "whatever_the_full_cidx_wrote_is_taken"),
        *("links_in_a_graph_are_believed", "what_the_full_cidx_publishes_is_not_seen"),
        "a_graph_and_its_description_are_taken_as_they_are_met",
        "the_working_tree_has_every_version",
    ),
}
#: By the name of a mutant, the check that is known to see it.
SEEN_BY: dict[str, str] = {name: check for check, names in _CHECKS.items() for name in names}

_INDEX = "how our index is made or ranked: its own tests see it"
_LARGE = "it takes an index of a hundred thousand chunks"
_WATCH = "it takes a race within the watch, in this process"
_THREAD = "it takes an interrupt, or a run, at a moment that is chosen between two threads"
_NOT_YET = "no check of the kit has been seen to find it"

#: By module, why the kit does not see the others of it.
_OF_MODULES = {
    "increments": _INDEX,
    "merges": _INDEX,
    "scans": _INDEX,
    "watching": _WATCH,
    "fresh": _WATCH,
    "cache": _THREAD,
    "speed": _LARGE,
}
_OF_MUTANTS = {
    "looks_and_then_closes": "it takes a call that comes between two statements of one thread",
    "names_are_paths": "each name that a tree has meets a pattern first: it takes two faults",
    "keys_show_themselves": "nothing prints a key, or what has one: it takes two faults",
    **dict.fromkeys(("first_query_loads_what_was_published", "loaded_for_each_query"), _LARGE),
}


def _why(name: str) -> str:
    if name in _OF_MUTANTS:
        return _OF_MUTANTS[name]
    mutant = own.MUTANTS[name]
    if mutant.promise in ("QRY-1", "QRY-2", "QRY-3", "QRY-4", "FRESH-4"):
        return _INDEX
    return _OF_MODULES.get(_module_of(mutant), _NOT_YET)


def _module_of(mutant: own.Mutant) -> str:
    module: str = getattr(mutant.planted, "__module__", "")
    return module.rsplit(".", 1)[-1]


#: By name.
MUTANTS: dict[str, Mutant] = {
    **{name: Mutant(own.MUTANTS[name].promise, patch=own.MUTANTS[name].planted) for name in PARTS},
    **{
        name: Mutant(own.MUTANTS[name].promise, target=mutated(name))
        for name in (*DAEMONS, *SEEN_BY)
    },
}
#: By name, why the kit does not see it.
UNSEEN: dict[str, str] = {name: _why(name) for name in own.MUTANTS if name not in MUTANTS}
