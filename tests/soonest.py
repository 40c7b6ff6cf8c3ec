"""Which test or search sees a mutant soonest, of those mutants that would take long by all of them.

A mutant that `test_mutants` would take more than some three seconds of processor time for, or ten
of waiting, has an entry: a quick test of the promise that it breaks, which fails with it each time.
An entry that does not hold any more fails the test of its mutant.
"""

from __future__ import annotations

__all__ = ["SOONEST", "SOONEST_SEARCH"]

#: By the name of the mutant: a test, with its file in this directory.
SOONEST: dict[str, str] = {
    "a_full_text_is_opened_where_it_lies": (
        "test_cidx_index.py::test_nothing_in_the_tree_is_made_changed_or_locked"
    ),
    "whatever_the_full_cidx_wrote_is_taken": (
        "test_cidx_index.py::test_what_was_not_adopted_is_not_used_and_one_line_says_what_to_type"
    ),
    "links_in_a_graph_are_believed": (
        "test_cidx_index.py::test_the_storys_store_loads_what_it_has_checked"
    ),
    "what_the_full_cidx_publishes_is_not_seen": (
        "test_cidx_serving.py::test_what_is_published_there_is_picked_up_by_the_next_query"
    ),
    "a_look_counts_for_ever": (
        "test_cidx_looks.py::"
        "test_a_look_is_as_good_as_a_new_one_whatever_has_changed[the graph is replaced]"
    ),
    "a_graph_and_its_description_are_taken_as_they_are_met": (
        "test_cidx_index.py::test_a_new_graph_with_an_old_description_is_read_again"
    ),
    "the_working_tree_has_every_version": (
        "test_cidx_index.py::test_of_a_file_that_has_changed_the_text_comes_from_git_and_the_hit_says_so"
    ),
    "phrases_are_held_by_their_words": (
        'test_phrases.py::test_a_quoted_piece_is_found_as_written["frobnicate()"-paths11-fts]'
    ),
    "an_embedder_is_waited_for_as_long_as_it_takes": (
        "test_asking.py::"
        "test_a_hybrid_query_waits_so_long_for_its_vector_and_says_what_it_did_without"
    ),
    "an_embedder_that_has_failed_is_asked_no_more": (
        "test_asking.py::test_an_embedder_that_is_wrong_costs_its_own_half_and_is_named[raises]"
    ),
    "whatever_an_embedder_makes_is_a_vector": (
        "test_asking.py::test_an_embedder_that_is_wrong_costs_its_own_half_and_is_named[nan]"
    ),
    "an_embedders_words_are_passed_on": (
        "test_asking.py::test_an_embedder_that_is_wrong_costs_its_own_half_and_is_named[raises]"
    ),
    "redirects_are_followed": (
        "test_service_embedder.py::test_no_redirect_is_followed[redirect 307]"
    ),
    "a_providers_key_goes_to_any_address": (
        "test_service_embedder.py::test_a_providers_own_key_goes_to_that_provider_alone"
    ),
    "keys_show_themselves": ("test_service_embedder.py::test_a_key_shows_itself_to_nobody"),
    "any_address_may_be_without_tls": (
        "test_service_embedder.py::test_over_the_network_a_key_goes_by_tls_alone"
    ),
    "nothing_dead_is_cleared_away": (
        "test_incremental.py::test_after_many_edits_the_index_is_at_most_half_as_large_again_as_one_built_anew[100]"
    ),
    "matches_in_the_order_of_the_files": (
        "test_text_analysis.py::test_a_row_of_the_page_says_by_what_a_text_is_found['as UTF-8'-fts]"
    ),
    "the_callbacks_error_ends_the_build": (
        "test_plain_client.py::test_a_callback_that_fails_is_not_called_again_and_the_index_is_built[ValueError]"
    ),
    "the_files_are_not_looked_at": (
        "test_query.py::test_diagnostics_say_which_files_are_not_what_they_were"
    ),
    "tracebacks_are_sent": "test_refusals.py::test_no_error_echoes_all_of_what_was_sent",
    "a_new_configuration_is_left_to_the_next_change": (
        "test_fresh.py::test_a_changed_configuration_of_index_runs_is_followed_before_an_answer_is_fresh"
    ),
    "bugs_are_told_in_full": (
        "test_log.py::test_the_log_has_once_what_a_client_is_not_told[query]"
    ),
    "any_generation_will_do": (
        "test_fresh.py::test_of_a_generation_that_was_put_in_the_place_of_the_last_runs_nothing_is_known"
    ),
    "nearest_in_the_order_of_the_files": (
        "test_segments.py::test_the_nearest_of_all_segments_are_those_of_a_product_with_all_that_is_alive"
    ),
    "collisions_are_hits": (
        "test_query.py::test_a_hit_that_shares_no_word_is_a_collision_and_left_out"
    ),
    "lines_from_nought": "test_query.py::test_a_hit_points_at_the_lines_that_it_shows",
    "the_mtime_is_enough": "test_seen.py::test_an_edit_that_puts_the_mtime_back_is_seen",
    "the_racy_case_is_forgotten": (
        "test_seen.py::test_a_file_written_again_at_once_with_its_old_size_is_never_missed[4000000]"
    ),
    "filters_are_ignored": "test_query.py::test_filters_let_through_exactly_what_they_say",
    "filtered_afterwards": (
        "test_filters.py::test_an_answer_is_the_best_of_what_passes_and_not_what_passes_of_the_best[fts]"
    ),
    "changes_start_no_run": (
        "test_watch.py::test_a_run_begins_when_changes_have_settled_for_a_fifth_of_a_second"
    ),
    "changes_settle_for_ever": (
        "test_watch.py::test_a_file_that_is_written_without_end_is_run_for_each_second"
    ),
    "a_failed_run_is_not_tried_again": (
        "test_watch.py::test_a_run_that_fails_is_tried_again_later_and_later"
    ),
    "a_merge_counts_as_a_look_at_the_files": (
        "test_watch_races.py::test_fresh_means_fresh_whatever_the_order[EditsAndMerges]"
    ),
    "names_are_believed_after_an_overflow": (
        "test_watched_trees.py::test_folders_that_were_replaced_while_events_were_lost_are_watched_anew"
    ),
    "anybody_may_say_what_was_seen": (
        "test_seen.py::test_what_another_account_wrote_down_is_not_believed"
    ),
    "right_checksums_are_enough": (
        "test_trust.py::test_an_index_of_another_account_is_not_loaded_and_said_to_be_one"
    ),
    "connections_survive_a_fork": (
        "test_fork.py::test_a_connection_of_another_process_is_not_used"
    ),
    "bombs_are_inflated": "test_limits.py::test_garbage_costs_its_sender_the_connection[zlib bomb]",
    "the_clients_calls_count_twice": (
        "test_health.py::test_each_call_is_counted_once_with_its_outcome"
    ),
    "failed_calls_do_not_count": "test_health.py::test_each_call_is_counted_once_with_its_outcome",
    "the_cache_is_not_logged": "test_health.py::test_the_log_tells_what_happened_and_why",
    "refusals_are_not_logged": "test_health.py::test_the_log_tells_what_happened_and_why",
    "rare_words_are_left_to_the_graph": (
        "test_semantic.py::test_a_rare_word_is_found_where_it_stands"
    ),
    "left_only_in_good_order": "test_gate.py::test_a_call_that_ends_badly_has_left_all_the_same",
    "what_was_passed_over_during_a_run_is_forgotten": (
        "test_watched_listings.py::test_what_a_run_has_met_at_another_moment_is_known[too large]"
    ),
    "what_did_not_belong_never_does": (
        "test_watched_listings.py::test_what_changes_the_listing_is_known"
        "[the pyvenv.cfg goes that had a folder left out]"
    ),
    "patterns_outlive_their_folder": (
        "test_watched_listings.py::test_patterns_go_with_the_folder_that_they_lie_in[False]"
    ),
    "what_is_left_out_is_not_watched_for_what_had_it_left_out": (
        "test_watched_listings.py::test_what_changes_the_listing_is_known"
        "[a repository of its own becomes a plain folder]"
    ),
    "a_folder_of_ignored_files_is_an_ignored_one": (
        "test_watched_listings.py::test_what_changes_the_listing_is_known"
        "[a folder in which merely all files are ignored gets another one]"
    ),
    "a_tracked_folder_that_a_pattern_ignores_is_not_entered": (
        "test_watched_listings.py::test_what_changes_the_listing_is_known"
        "[a folder with a tracked file, that a pattern ignores, comes back]"
    ),
    "what_was_whole_once_is_taken_to_be_so": (
        "test_generation.py::"
        "test_a_run_that_meets_damage_of_what_a_daemon_has_verified_indexes_all_anew"
    ),
    "no_match_without_a_last_look": (
        "test_semantic.py::test_a_part_of_a_word_is_found_among_thousands[kingl-semantic]"
    ),
    "patient_with_every_byte": (
        "test_limits.py::test_an_endless_drip_of_bytes_costs_the_connection_after_a_while"
    ),
}

#: Those that their tests take seven seconds and more to see: others of the same promise are seen by
#: default.
SLOW = frozenset(
    {
        "an_embedder_is_waited_for_as_long_as_it_takes",
        "bombs_are_inflated",
        "matches_in_the_order_of_the_files",
        "no_match_without_a_last_look",
        "nothing_dead_is_cleared_away",
        "patient_with_every_byte",
    }
)

#: By the name of a mutant that `test_interleavings` kills: a search of its promise that others with
#: some seconds of processor time would come before.
SOONEST_SEARCH: dict[str, str] = {
    "disk_is_asked_before_the_lock": "PublishAndTwoQueries",
    "each_request_makes_a_run": "SharedIndexRun",
    "a_run_begins_beside_a_merge": "RunsAndMerges",
    "named_before_it_listens": "ClientAndStarter",
    "slow_answers_count_for_ever": "SlowHolders",
}
