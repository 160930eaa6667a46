//! The list of the conformance tests, and the macro that instantiates them for a dialect.

/// Runs a test of the suite on a multi-threaded runtime: an observer may block one thread while the other continues.
pub fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

/// Generates the tests of the suite for a service that is no login dialect.
#[macro_export]
macro_rules! service_conformance {
    ($service:ty) => {
        $crate::conformance_tests! { $service:
            openapi::every_error_matches_its_golden_text,
            openapi::routes_match_the_openapi_document,
            openapi::oversized_bodies_are_rejected_on_every_route,
            openapi::unknown_paths_are_rejected,
            http::header_names_are_title_case,
            http::every_401_has_www_authenticate,
            http::an_allowed_cors_origin_may_send_any_header,
            http::errors_of_the_http_library_have_a_dialect_body,
            http::duplicate_slashes_reach_the_same_route,
            http::ambiguous_paths_are_rejected
        }
    };
}

/// Generates the tests of the suite for a dialect: `conformance!(App)`, followed by `sessions`, `salted`, `codes` or
/// `new_passwords` for the groups that do not apply to every dialect.
#[macro_export]
macro_rules! conformance {
    ($dialect:ty $(, $more:ident)*) => {
        $crate::conformance_tests! { $dialect:
            bodies::a_byte_order_mark_is_skipped,
            bodies::a_charset_is_decoded,
            bodies::trailing_data_after_json_is_ignored,
            bodies::json_is_read_leniently,
            bodies::integer_fields_accept_json_doubles,
            bodies::multipart_bodies_of_all_known_clients_are_accepted,
            bodies::field_names_are_case_insensitive,
            bodies::fields_are_accepted_in_the_query,
            bodies::non_ascii_query_bytes_are_rejected_in_the_dialect,
            bodies::repeated_fields_are_accepted,
            bodies::the_content_type_is_ignored,
            bodies::compressed_bodies_are_decompressed,
            bodies::a_call_without_parameters_ignores_its_body,
            closures::a_brownout_is_answered_as_an_unavailable_store_until_it_ends,
            closures::a_brownout_of_a_client_refuses_only_that_client,
            closures::a_dialect_that_is_off_stays_off_after_a_restart_until_it_is_on_again,
            closures::a_login_counts_as_use_of_the_dialect,
            empty_fields::an_empty_password_counts_as_wrong,
            empty_fields::an_empty_identifier_counts_as_unknown,
            openapi::every_error_matches_its_golden_text,
            openapi::routes_match_the_openapi_document,
            openapi::oversized_bodies_are_rejected_on_every_route,
            openapi::unknown_paths_are_rejected,
            unavailability::a_full_hash_queue_returns_retry_after_and_computes_no_hash,
            unavailability::logins_fail_and_count_nothing_while_a_store_is_down,
            http::header_names_are_title_case,
            http::every_401_has_www_authenticate,
            http::an_allowed_cors_origin_may_send_any_header,
            http::errors_of_the_http_library_have_a_dialect_body,
            http::duplicate_slashes_reach_the_same_route,
            http::ambiguous_paths_are_rejected,
            input::unreadable_bodies_are_rejected,
            input::the_error_names_a_missing_field,
            input::the_error_names_a_repeated_field,
            input::the_error_names_a_field_of_the_wrong_type,
            input::the_error_names_a_field_with_an_invalid_value,
            input::a_login_is_accepted_in_every_body_format,
            rate_limits::the_sixth_failure_starts_a_lockout_that_the_right_password_does_not_end,
            rate_limits::lockouts_double_up_to_a_minute,
            rate_limits::a_successful_login_resets_the_failure_count,
            rate_limits::the_failure_count_is_shared_by_all_identifiers,
            rate_limits::malformed_requests_and_right_passwords_are_not_counted,
            rate_limits::an_origin_is_rate_limited_across_accounts,
            rate_limits::x_forwarded_for_of_an_untrusted_peer_is_ignored,
            rate_limits::failures_of_strangers_do_not_lock_the_owner_out,
            login::a_user_logs_in_by_every_identifier,
            login::an_unknown_user_gets_the_response_and_cost_of_a_wrong_password,
            login::a_login_makes_only_the_necessary_store_calls,
            login::call_sequences_do_not_reveal_whether_a_user_exists,
            login::a_disabled_account_is_revealed_only_by_the_right_password,
            login::a_password_set_by_an_administrator_is_accepted,
            status_200::errors_have_status_200_when_configured,
            status_200::errors_of_other_dialects_keep_their_status
        }
        $($crate::conformance!(@$more $dialect);)*
    };
    (@sessions $dialect:ty) => {
        $crate::conformance_tests! { $dialect:
            sessions::each_login_opens_a_new_session,
            sessions::a_session_expires_twelve_hours_after_its_last_use,
            sessions::disabling_a_user_revokes_their_sessions_permanently,
            sessions::a_password_set_by_an_administrator_revokes_sessions
        }
    };
    (@salted $dialect:ty) => {
        $crate::conformance_tests! { $dialect:
            login_retries::a_login_may_be_retried_once_from_its_address,
            login_retries::a_retried_login_costs_as_much_as_the_first,
            login_retries::a_retried_login_is_rate_limited,
            login_retries::two_of_many_concurrent_logins_succeed,
            login_retries::without_a_skew_a_login_may_be_retried_once,
            login_retries::without_a_window_no_retry_is_accepted,
            salted::a_proof_is_accepted_within_five_minutes_of_now,
            salted::extreme_timestamps_are_rejected_as_stale,
            salted::the_timestamp_skew_is_configurable,
            salted::a_stale_proof_costs_the_same_for_every_user,
            salted::a_proof_is_accepted_once_across_letter_cases_and_identifiers,
            salted_text::a_hyphenated_digest_is_accepted,
            salted_text::a_proof_over_an_uppercase_digest_is_accepted,
            salted_text::a_proof_covers_the_timestamp_as_text,
            salted_text::a_json_double_is_accepted_as_timestamp,
            salted_text::millisecond_timestamps_are_accepted,
            salted::a_used_proof_is_remembered_while_it_is_fresh,
            salted::a_used_proof_is_remembered_when_the_clock_is_set_back,
            salted::a_proof_is_accepted_once_across_instances_and_restarts,
            salted::only_one_of_many_concurrent_logins_with_a_proof_succeeds,
            salted::proofs_older_than_the_state_store_are_stale,
            salted::without_a_skew_a_used_proof_is_remembered_for_thirty_days,
            salted::without_a_skew_a_used_proof_survives_the_loss_of_the_state_store,
            salted::without_a_skew_rate_limited_proofs_are_not_used_up,
            salted::only_the_salted_digest_of_the_user_is_accepted,
            salted::salted_proofs_are_rejected_without_a_sealed_digest,
            salted::stale_and_used_proofs_are_not_counted,
            salted::checks_run_in_the_documented_order,
            salted::a_lost_sealing_key_is_a_server_error
        }
    };
    (@new_passwords $dialect:ty) => {
        $crate::conformance_tests! { $dialect:
            common_passwords::a_common_password_is_refused_and_uses_nothing_up,
            common_passwords::a_common_password_is_refused_before_any_other_check,
            common_passwords::a_common_password_is_accepted_and_counted_if_the_policy_is_warn,
            common_passwords::an_old_common_password_is_accepted
        }
    };
    (@codes $dialect:ty) => {
        $crate::conformance_tests! { $dialect:
            codes::a_code_is_used_once,
            codes::a_code_is_accepted_in_every_typed_form,
            codes::only_one_of_many_concurrent_redemptions_succeeds,
            codes::a_code_expires_after_an_hour_or_when_replaced,
            codes::five_wrong_guesses_invalidate_a_code,
            codes::concurrent_guesses_do_not_exceed_the_cap,
            codes::wrong_codes_count_as_account_failures,
            codes::an_empty_code_counts_as_wrong,
            codes::a_password_change_invalidates_codes_sent_before,
            codes::a_code_of_another_dialect_is_rejected,
            codes::a_wrong_code_costs_the_same_for_every_user,
            codes::a_recipient_is_limited_to_five_codes_an_hour
        }
    };
}

/// Generates a test for each named function of the suite.
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

    /// A test that the macro does not list would never run.
    #[test]
    fn the_macro_lists_every_test_of_the_suite() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
        let list = std::fs::read_to_string(folder.join("suite.rs")).unwrap();
        let mut named = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            for test in text.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split_once('<')) {
                assert!(list.contains(&format!(" {module}::{}", test.0)), "{module}::{} is not listed", test.0);
                named += 1;
            }
        }
        assert!(named > 40, "{named}");
    }
}
