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

__all__ = ["DAEMONS", "DEEP", "INSIDE", "MUTANTS", "PARTS", "UNSEEN"]


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

#: Seen in our own code, in this process.
INSIDE = (
    # The cache, the runs, the clockwork and the socket, by the schedules of scenarios.
    *("interruption_is_shared", "successor_outlives_a_clear", "successor_succeeds_unpublished"),
    *("each_request_makes_a_run", "successor_is_left_open", "entry_is_used_unseen"),
    *("first_query_loads_what_was_published", "memory_is_kept", "a_merge_is_not_cancelled"),
    *("a_segment_is_closed_with_its_first_generation", "live_before_it_is_there"),
    *("swept_under_a_reader", "half_of_a_run_that_failed_stays", "rlock_as_read_lock"),
    *("named_before_it_listens", "claims_a_directory_that_is_gone", "leftovers_stay"),
    *("stops_under_a_query", "lost_wake_up", "late_calls_are_let_in", "queries_take_turns"),
    *("error_ends_the_clockwork", "checks_late", "shutdown_with_a_query_in_flight"),
    *("looks_and_then_closes", "idle_since_it_started", "idle_since_a_call_began"),
    # What a search finds, beside what a look at every chunk finds.
    *("nearest_in_the_order_of_the_files", "collisions_are_hits", "no_match_without_a_last_look"),
    *("rare_words_are_left_to_the_graph", "filters_are_ignored", "filtered_afterwards"),
    *("identifiers_are_not_split", "matches_in_the_order_of_the_files"),
    *("phrases_are_held_by_their_words", "one_engine_after_the_other", "half_an_answer_is_none"),
    *("half_an_answer_says_nothing", "queries_are_parsed", "nothing_but_punctuation_is_nothing"),
    *("a_phrase_that_nothing_has_empties_the_answer", "checked_inside"),
    *(
        "an_embedder_is_waited_for_as_long_as_it_takes",
        "an_embedder_that_has_failed_is_asked_no_more",
    ),
    *("whatever_an_embedder_makes_is_a_vector",),
    # The index that goes on from run to run, beside one that is built anew.
    *("gone_but_for_the_full_text", "gone_but_for_the_vectors", "the_dead_are_read_as_alive"),
    *("a_merge_loses_a_file", "a_merge_brings_back_the_dead", "a_merge_buries_the_living"),
    *("the_old_full_text_is_kept_too", "every_run_begins_anew", "what_is_kept_is_copied"),
    *("what_is_kept_is_hashed_again", "every_edit_takes_all_in"),
    *("segments_are_not_shared_in_memory", "the_racy_case_is_forgotten", "the_mtime_is_enough"),
    *("anybody_may_say_what_was_seen",),
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
    *("interrupted_waiter_leaves_a_pin", "lock_on_a_directory_that_is_gone"),
    *("a_second_load_is_forgotten", "service_class_instead_of_an_instance"),
    *("what_was_whole_once_is_taken_to_be_so", "a_merge_overtakes_an_edit"),
    *("nothing_dead_is_cleared_away",),
)

_LOG = "the log has a layout of its own"
_SHIPPED = "it is in the shipped client, and the kit asks by one of its own"
_NOT_YET = "no check of the kit has been seen to find it"

#: Why the kit does not see these.
_OF_MUTANTS = {
    **dict.fromkeys(("the_cache_is_not_logged", "refusals_are_not_logged"), _LOG),
    **dict.fromkeys(("answers_by_reference", "asks_who_is_there_every_time"), _SHIPPED),
    **dict.fromkeys(("every_error_is_internal", "connections_survive_a_fork"), _SHIPPED),
}


#: By name; what is seen in this process is planted here, which is quicker.
MUTANTS: dict[str, Mutant] = {
    **{name: Mutant(own.MUTANTS[name].promise, target=mutated(name)) for name in DAEMONS},
    **{name: Mutant(own.MUTANTS[name].promise, patch=own.MUTANTS[name].planted) for name in PARTS},
    **{
        name: Mutant(own.MUTANTS[name].promise, patch=own.MUTANTS[name].planted, deep=name in DEEP)
        for name in (*INSIDE, *DEEP)
    },
}
#: By name, why the kit does not see it.
UNSEEN: dict[str, str] = {
    name: _OF_MUTANTS.get(name, _NOT_YET) for name in own.MUTANTS if name not in MUTANTS
}
