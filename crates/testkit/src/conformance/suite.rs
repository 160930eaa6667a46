//! The list of the suite's tests, and the macro that gives them to a dialect.

/// Runs a test of the suite. With threads of its own: stores are watched in one while another goes on.
pub fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

/// Gives a dialect the tests of the suite: `conformance!(App)`, and after its name `sessions`, `salted` or `codes` for those
/// that are not for every dialect.
#[macro_export]
macro_rules! conformance {
    ($dialect:ty $(, $more:ident)*) => {
        $crate::conformance_tests! { $dialect:
            bodies::a_byte_order_mark_is_skipped,
            bodies::a_charset_is_decoded,
            bodies::what_follows_json_is_ignored,
            bodies::json_is_read_leniently,
            bodies::whole_numbers_may_be_doubles,
            bodies::multipart_is_read_however_it_was_made,
            bodies::names_match_without_letter_case,
            bodies::fields_are_read_from_the_query,
            bodies::raw_bytes_in_a_query_are_answered_in_the_dialect,
            bodies::a_field_may_be_repeated,
            bodies::the_content_type_does_not_matter,
            bodies::compressed_bodies_are_inflated,
            bodies::a_call_without_parameters_ignores_its_body,
            empty::an_empty_password_is_a_wrong_one,
            empty::an_empty_name_is_an_unknown_one,
            document::every_error_is_rendered_as_pinned,
            document::the_routes_and_their_document_are_the_same,
            document::bodies_that_are_too_large_are_refused_everywhere,
            document::other_paths_are_refused,
            faults::a_full_hashing_queue_asks_to_come_back_and_costs_nothing,
            faults::without_a_store_no_login_passes_and_nothing_is_counted,
            http::names_of_headers_are_in_title_case,
            http::every_401_has_a_challenge,
            http::an_allowed_page_may_send_any_header,
            http::what_the_http_library_refuses_has_a_body,
            http::slashes_too_many_lead_to_the_same_call,
            http::paths_that_can_be_read_in_two_ways_are_refused,
            input::bodies_that_cannot_be_read,
            input::a_missing_field_is_named,
            input::a_doubled_field_is_named,
            input::a_field_of_the_wrong_kind_is_named,
            input::a_field_with_a_bad_value_is_named,
            input::a_login_is_read_from_every_kind_of_body,
            limits::the_sixth_failure_starts_a_wait_that_the_right_password_does_not_break,
            limits::waits_double_up_to_a_minute,
            limits::a_success_clears_the_accounts_count,
            limits::the_count_is_shared_by_every_identifier,
            limits::only_wrong_passwords_are_counted,
            limits::an_origin_has_a_limit_over_all_accounts,
            limits::an_address_is_not_believed_from_anyone,
            limits::strangers_do_not_keep_the_owner_out,
            login::a_user_logs_in_by_every_identifier,
            login::an_unknown_user_is_answered_and_costs_what_a_wrong_password_does,
            login::a_login_costs_no_more_than_it_must,
            login::a_sequence_of_calls_answers_and_costs_the_same_for_an_unknown_user,
            login::a_disabled_user_is_refused_only_with_the_right_password,
            login::a_password_that_an_administrator_sets_works_here,
            status_200::failures_have_status_200_where_that_is_set,
            status_200::failures_of_other_dialects_keep_their_status
        }
        $($crate::conformance!(@$more $dialect);)*
    };
    (@sessions $dialect:ty) => {
        $crate::conformance_tests! { $dialect:
            sessions::each_login_opens_a_session_of_its_own,
            sessions::a_session_lives_twelve_hours_after_its_last_use,
            sessions::disabling_a_user_ends_their_sessions_for_good,
            sessions::a_password_changed_elsewhere_ends_sessions
        }
    };
    (@salted $dialect:ty) => {
        $crate::conformance_tests! { $dialect:
            repeats::a_login_may_be_repeated_once_from_its_address,
            repeats::a_repeated_login_costs_what_the_first_one_did,
            repeats::a_repeated_login_is_within_the_limits,
            repeats::of_many_at_once_two_get_in,
            repeats::without_a_skew_a_login_may_be_repeated_as_well,
            repeats::without_a_window_no_login_is_repeated,
            salted::a_proof_is_good_for_five_minutes_either_way,
            salted::extreme_timestamps_are_stale_and_nothing_worse,
            salted::the_skew_is_a_setting,
            salted::a_stale_proof_costs_the_same_for_every_user,
            salted::a_proof_is_accepted_once_in_either_letter_case_by_every_identifier,
            salted_text::a_digest_is_read_with_hyphens_between_its_bytes,
            salted_text::a_digest_in_capitals_is_salted_as_well,
            salted_text::a_proof_is_made_over_the_text_of_its_timestamp,
            salted_text::a_timestamp_may_be_a_json_double,
            salted_text::milliseconds_are_as_fresh_as_their_seconds,
            salted::a_proof_is_remembered_for_as_long_as_it_would_be_fresh,
            salted::a_proof_is_remembered_when_the_clock_is_set_back_by_an_hour,
            salted::a_proof_is_accepted_once_by_all_instances_and_restarts,
            salted::only_one_of_many_at_once_gets_in,
            salted::proofs_from_before_an_empty_store_was_born_are_stale,
            salted::without_a_skew_a_proof_is_remembered_for_thirty_days,
            salted::without_a_skew_a_used_proof_survives_the_loss_of_the_short_lived_store,
            salted::without_a_skew_what_the_limits_refuse_is_not_used_up,
            salted::only_the_users_own_salted_digest_proves,
            salted::without_sealed_digests_no_salted_proof_is_accepted,
            salted::stale_and_used_proofs_are_not_counted,
            salted::checks_come_in_the_designs_order,
            salted::a_lost_sealing_key_is_our_fault_not_the_users
        }
    };
    (@codes $dialect:ty) => {
        $crate::conformance_tests! { $dialect:
            codes::a_code_is_used_once,
            codes::a_code_is_taken_as_people_type_it,
            codes::of_many_at_once_one_is_accepted,
            codes::a_newer_code_replaces_it_and_an_hour_ends_it,
            codes::five_wrong_tries_burn_a_code,
            codes::parallel_guesses_do_not_pass_the_cap,
            codes::wrong_codes_count_as_the_accounts_failures,
            codes::an_empty_code_is_a_wrong_one,
            codes::a_code_dies_with_the_password_it_was_sent_under,
            codes::another_dialects_code_is_not_accepted,
            codes::a_wrong_code_costs_the_same_for_every_user,
            codes::one_recipient_gets_five_codes_an_hour
        }
    };
}

/// A test for each function of the suite that is named.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($dialect:ty: $($module:ident::$test:ident),+) => {
        $(#[test]
        fn $test() {
            $crate::conformance::run($crate::conformance::$module::$test::<$dialect>());
        })+
    };
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A test that the macro does not name would be run by no dialect.
    #[test]
    fn every_test_of_the_suite_is_named() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
        let list = std::fs::read_to_string(folder.join("suite.rs")).unwrap();
        let mut named = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            for test in text.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split_once('<')) {
                assert!(list.contains(&format!(" {module}::{}", test.0)), "{module}::{} is not named", test.0);
                named += 1;
            }
        }
        assert!(named > 40, "{named}");
    }
}
