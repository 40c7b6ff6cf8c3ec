"""Which test or search sees a mutant soonest, of those mutants that would take long by all of them.

A mutant that `test_mutants` would take more than some half a second of processor time for, or ten
seconds of waiting, has an entry: a quick test of the promise that it breaks, which fails with it
each time.  To import all tests of a promise takes most of that.
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
    "identifiers_are_not_split": (
        "test_filters.py::"
        "test_semantic_search_behind_a_filter_finds_the_nearest_of_what_passes[0.9]"
    ),
    "one_engine_after_the_other": "test_query.py::test_a_hybrid_search_asks_both_engines_at_once",
    "half_an_answer_is_none": (
        "test_query.py::test_where_one_engine_is_damaged_the_other_answers_and_says_so[semantic]"
    ),
    "half_an_answer_says_nothing": (
        "test_query.py::test_where_one_engine_is_damaged_the_other_answers_and_says_so[semantic]"
    ),
    "made_up_errors_are_remembered": (
        "test_bounded_wire.py::test_what_a_client_names_is_shown_in_part"
    ),
    "fresh_is_a_word": (
        "test_fresh.py::test_without_a_watch_each_fresh_answer_is_of_a_run_of_its_own"
    ),
    "an_overflow_is_an_event_like_others": (
        "test_watch.py::"
        "test_after_an_overflow_nothing_is_known_until_one_run_has_looked_at_everything"
    ),
    "unknown_arguments_are_ignored": (
        "test_arguments.py::"
        "test_every_mode_refuses_a_bad_argument_by_name_before_any_lock"
        "[{'language': 'python'}-language: unknown argument; known are: l]"
    ),
    "status_of_what_is_cached": "test_query.py::test_status_follows_what_happens",
    "runs_never_pause": (
        "test_watch.py::"
        "test_what_is_written_all_the_time_costs_a_part_of_the_machine_and_is_found_soon[0.5-3.0]"
    ),
    "what_is_outside_is_not_the_projects": (
        "test_watched_git.py::"
        "test_what_decides_in_the_checkout_that_the_project_is_a_folder_of_is_a_change"
        "[False-a .gitignore]"
    ),
    "repositories_inside_are_folders": (
        "test_watched_git.py::test_what_a_repository_inside_lists_is_a_change[before]"
    ),
    "a_merge_is_not_cancelled": (
        "test_indexing.py::test_a_merge_yields_to_a_newer_change_which_begins_when_it_has_ended"
    ),
    "unknown_is_nothing": "test_fresh.py::test_nothing_is_said_to_be_pending_while_nobody_knows",
    "first_come_first_served": "test_fresh.py::test_an_answer_says_what_the_watch_knows[0]",
    "waiting_is_enough": (
        "test_fresh.py::test_a_time_out_says_so_and_ends_only_a_run_that_nobody_wants[True]"
    ),
    "any_run_will_do": (
        "test_fresh.py::test_a_run_that_has_begun_to_scan_before_the_call_makes_no_answer_fresh"
    ),
    "a_merge_overtakes_an_edit": (
        "test_incremental.py::test_a_merge_that_waits_for_a_writer_merges_what_that_has_published"
    ),
    "a_failed_run_forgets_what_it_had_in_flight": (
        "test_watched_git.py::"
        "test_what_decides_in_the_checkout_that_the_project_is_a_folder_of_is_a_change"
        "[True-a .gitignore]"
    ),
    "what_is_sent_is_hashed": "test_bounded_wire.py::test_a_frozenset_arrives_as_a_tuple",
    "answers_by_reference": (
        "test_rpc.py::test_a_query_is_one_request_and_one_reply_which_is_one_json_value"
    ),
    "the_number_of_entries_is_the_index": (
        "test_watched_git.py::"
        "test_an_add_and_a_removal_that_leave_the_number_of_entries_are_a_change"
    ),
    "asks_who_is_there_every_time": (
        "test_rpc.py::test_a_query_is_one_request_and_one_reply_which_is_one_json_value"
    ),
    "a_folder_is_all_that_is_compared_when_it_is_armed": (
        "test_watched_git.py::"
        "test_a_file_of_patterns_that_is_edited_between_listing_and_arming_is_dirty[.gitignore]"
    ),
    "a_git_directory_is_watched_as_it_was_found": (
        "test_watched_git.py::test_an_info_that_comes_later_or_again_is_watched[False]"
    ),
    "a_phrase_that_nothing_has_empties_the_answer": (
        "test_query.py::test_whatever_stands_in_a_file_can_be_looked_for['push \"no such words\"']"
    ),
    "whatever_is_sent_is_called": (
        "test_rpc.py::test_nothing_can_be_set_deleted_pickled_called_back_or_changed"
    ),
    "looking_is_using": "test_query.py::test_status_follows_what_happens",
    "every_error_is_internal": (
        "test_client.py::test_no_match_no_index_and_a_bad_argument_are_three_answers"
    ),
    "public_attributes_are_reachable": (
        "test_rpc.py::test_of_all_that_is_given_out_only_what_is_exposed_can_be_reached"
    ),
    "new_folders_are_not_watched": (
        "test_watched_trees.py::test_a_change_is_known_at_once[rename of a folder]"
    ),
    "freshness_is_what_is_known_already": (
        "test_watched_git.py::"
        "test_an_add_and_a_removal_that_leave_the_number_of_entries_are_a_change"
    ),
    "a_run_begins_without_reading_the_queue": (
        "test_watched_git.py::"
        "test_an_index_that_is_too_large_to_be_looked_through_counts_"
        "as_changed_when_it_is_written"
    ),
    "index_runs_are_not_told": (
        "test_gate.py::test_draining_ends_an_index_that_takes_too_long_and_tells_its_client"
    ),
    "queries_are_parsed": (
        "test_query.py::test_whatever_stands_in_a_file_can_be_looked_for['std::vector']"
    ),
    "init_begins_anew": (
        "test_config.py::"
        "test_a_key_that_is_there_twice_is_refused_by_name_and_none_is_lost"
        '[{"daemon": {}, "daemon": {}}]'
    ),
    "nothing_but_punctuation_is_nothing": (
        "test_query.py::test_whatever_stands_in_a_file_can_be_looked_for['=>']"
    ),
    "the_race_between_listing_and_arming_is_ignored": (
        "test_watched_git.py::"
        "test_a_file_of_patterns_that_is_edited_between_listing_and_arming_is_dirty[.gitignore]"
    ),
    "answers_can_be_changed": (
        "test_rpc.py::test_of_all_that_is_given_out_only_what_is_exposed_can_be_reached"
    ),
    "an_event_during_a_run_is_lost": (
        "test_watched_git.py::"
        "test_a_file_of_patterns_that_is_edited_between_listing_and_arming_is_dirty[.gitignore]"
    ),
    "the_name_is_believed": (
        "test_rpc.py::test_a_reference_of_the_client_that_claims_to_be_a_string_opens_no_door"
    ),
    "checked_inside": (
        "test_arguments.py::"
        "test_every_mode_refuses_a_bad_argument_by_name_before_any_lock"
        "[{'query': None}-query: must be a string, not NoneType]"
    ),
    "mistakes_are_failures": (
        "test_health.py::test_a_users_mistakes_are_no_failures_and_the_daemons_are"
    ),
    "bugs_are_not_failures": "test_health.py::test_what_nobody_thought_of_is_a_failure_too",
    "minutes_are_seconds": "test_config.py::test_without_a_file_the_story_s_defaults_hold",
    "lock_around_the_search": "test_gates.py::test_no_lock_is_held_while_an_engine_searches",
    "owners_are_not_asked": (
        "test_files.py::"
        "test_what_belongs_to_somebody_else_is_refused_by_the_owner_s_name[open as a directory]"
    ),
    "bad_values_are_the_defaults": (
        "test_config.py::test_a_key_that_is_nearly_one_of_ours_is_refused_by_name[exlude-exclude]"
    ),
    "gone_but_for_the_vectors": (
        "test_incremental.py::test_what_is_gone_is_in_no_answer_before_it_is_merged_away"
    ),
    "only_the_time_of_modification": (
        "test_stale.py::test_what_has_changed_since_is_stale[old time-True]"
    ),
    "gone_but_for_the_full_text": (
        "test_incremental.py::test_what_is_gone_is_in_no_answer_before_it_is_merged_away"
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
