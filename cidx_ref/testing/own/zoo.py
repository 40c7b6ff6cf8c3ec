"""The zoo as mutants of the kit: our own daemon with each of them in it must not pass.

    cidx-ref verify cidx_ref.testing.own.conformance:TARGET --mutants cidx_ref.testing.own.zoo

A mutant of a part (the cache, the claim) is planted in this process, where all schedules are tried,
and so is one that our own checks of our code show (`inside`); any other in a daemon, from outside.
What no door shows is in `UNSEEN`, with the reason: there the tests of this package must see it, as
they must see all.
"""

from __future__ import annotations

from cidx_ref.testing.conformance.mutants import Mutant
from cidx_ref.testing.own import mutants as own
from cidx_ref.testing.own.conformance import mutated

__all__ = ["DAEMONS", "DEEP", "INSIDE", "MUTANTS", "PARTS", "SEEN_BY", "UNSEEN"]


def _module_of(name: str) -> str:
    module: str = getattr(own.MUTANTS[name].planted, "__module__", "")
    return module.rsplit(".", 1)[-1]


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
        *("the_working_tree_has_every_version", "a_look_counts_for_ever"),
    ),
}
#: By the name of a mutant, the check that is known to see it.
SEEN_BY: dict[str, str] = {name: check for check, names in _CHECKS.items() for name in names}

#: Seen in our own code, in this process.
INSIDE = (
    # The cache, the runs, the clockwork and the socket, by the schedules of scenarios.
    *("interruption_is_shared", "successor_outlives_a_clear", "successor_succeeds_unpublished"),
    *("each_request_makes_a_run", "successor_is_left_open", "entry_is_used_unseen"),
    *("first_query_loads_what_was_published", "memory_is_kept", "a_merge_is_not_cancelled"),
    *("a_segment_is_closed_with_its_first_generation", "live_before_it_is_there"),
    *("swept_under_a_reader", "looks_and_then_closes", "slow_answers_count_for_ever"),
    # What a search finds, beside what a look at every chunk finds.
    *("nearest_in_the_order_of_the_files", "collisions_are_hits", "no_match_without_a_last_look"),
    *("rare_words_are_left_to_the_graph", "filters_are_ignored", "filtered_afterwards"),
    *("identifiers_are_not_split", "matches_in_the_order_of_the_files"),
    *("phrases_are_held_by_their_words", "one_engine_after_the_other"),
    *("queries_are_parsed", "nothing_but_punctuation_is_nothing"),
    "a_phrase_that_nothing_has_empties_the_answer",
    *(
        "an_embedder_is_waited_for_as_long_as_it_takes",
        "an_embedder_that_has_failed_is_asked_no_more",
    ),
    "whatever_an_embedder_makes_is_a_vector",
    # The index that goes on from run to run, beside one that is built anew.
    *("gone_but_for_the_full_text", "gone_but_for_the_vectors", "the_dead_are_read_as_alive"),
    *("a_merge_loses_a_file", "a_merge_brings_back_the_dead", "a_merge_buries_the_living"),
    *("the_old_full_text_is_kept_too", "every_run_begins_anew", "what_is_kept_is_copied"),
    *("what_is_kept_is_hashed_again", "every_edit_takes_all_in"),
    *("segments_are_not_shared_in_memory", "the_racy_case_is_forgotten", "the_mtime_is_enough"),
    "anybody_may_say_what_was_seen",
    # The watch and what answers say of it.
    *("unknown_is_nothing", "waiting_is_enough", "a_new_configuration_is_left_to_the_next_change"),
    *("any_generation_will_do", "only_the_time_of_modification"),
    *(name for name in own.MUTANTS if _module_of(name) == "watching"),
    # What a query costs, by what it does.
    *("loaded_for_each_query", "ten_milliseconds_more", "lock_around_the_search"),
    *("answers_are_kept", "everything_is_loaded_anew", "a_segment_takes_all_there_is"),
)

#: The same, in depth: by more schedules, or more runs.
DEEP = (
    *("any_run_will_do", "a_merge_counts_as_a_look_at_the_files", "a_run_begins_beside_a_merge"),
    "interrupted_waiter_leaves_a_pin",
    "a_second_load_is_forgotten",
    *("what_was_whole_once_is_taken_to_be_so", "a_merge_overtakes_an_edit"),
    "nothing_dead_is_cleared_away",
)

#: Why the kit does not see these.
UNSEEN: dict[str, str] = {
    "names_are_paths": "each name that a tree has meets a pattern first: it takes two faults",
    "keys_show_themselves": "nothing prints a key, or what has one: it takes two faults",
}


def _mutant(name: str) -> Mutant:
    """Planted in this process where that shows it, which is quicker."""
    mutant = own.MUTANTS[name]
    if name in PARTS or name in INSIDE or name in DEEP:
        return Mutant(mutant.promise, patch=mutant.planted, deep=name in DEEP)
    return Mutant(mutant.promise, target=mutated(name))


#: By name.
MUTANTS: dict[str, Mutant] = {
    name: _mutant(name) for name in (*DAEMONS, *SEEN_BY, *PARTS, *INSIDE, *DEEP)
}
