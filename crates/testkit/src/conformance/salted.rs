//! Salted proofs: freshness of the timestamp, replay protection, and the order of checks.

use std::sync::Arc;
use std::time::Duration;

use stele_core::origin::Origin;
use stele_core::ports::{LoginAttempt, ProofResult};
use stele_core::seal::Sealer;
use stele_core::time::Timestamp;
use stele_core::user::UserStatus;
use stele_core::{Dependencies, Error};

use super::{PASSWORD, PHONE, SaltedDialect, UNKNOWN_PHONE, WRONG_PASSWORD};
use crate::{CallPhase, ResponseDelivery, TestApp, TestResponse, md5_hex};

/// JSON values that are not a valid digest.
const INVALID_DIGESTS: &[&str] = &[
    "\"123456\"",
    "\"0b945c1fd92aa2623b704d8d37d8ffc\"",
    "\"00b945c1fd92aa2623b704d8d37d8ffc0\"",
    "\"0 0b945c1fd92aa2623b704d8d37d8ffc\"",
    "\"00-b945-c1-fd-92-aa-26-23-b7-04-d8-d3-7d-8f-fc\"",
    "\"g0b945c1fd92aa2623b704d8d37d8ffc\"",
    "\"00００b945c1fd92aa2623b704d8d37d8ff\"",
    "12345678901234567890123456789012",
];

/// JSON values that are not a valid timestamp.
const INVALID_TIMESTAMPS: &[&str] = &[
    "-1",
    "1.5",
    "\"1767254400.5\"",
    "\"1767254400.0.0\"",
    "\"1e99\"",
    "\"\\\"\\\"\"",
    "\"+1767254400\"",
    "\"17672 54400\"",
    "\"0x1\"",
    "\"01767254400\"",
    "\"now\"",
    "9223372036854775808",
    "99999999999999999999999",
    "\"１７６７\"",
    "\"NaN\"",
];

/// JSON values that are not a valid user id.
const INVALID_USER_IDS: &[&str] =
    &["\"a\\u0001b\"", "\"a\\u202eb\"", "\"0b922f14-d00b-11e7-aafd-525400bbac8e \\u200b\"", LONG_USER_ID, "{}", "[4]"];

/// A character more than an id of an old system may have.
const LONG_USER_ID: &str = concat!(
    "\"",
    "0123456789012345678901234567890123456789012345678901234567890123",
    "0123456789012345678901234567890123456789012345678901234567890123",
    "4\""
);

/// Invalid values of the fields of cloudbox and TMS.
pub const INVALID_VALUES: &[(&str, &[&str])] = &[
    ("password", INVALID_DIGESTS),
    ("orig_password", INVALID_DIGESTS),
    ("new_password", INVALID_DIGESTS),
    ("timestamp", INVALID_TIMESTAMPS),
    ("user_id", INVALID_USER_IDS),
];

/// `md5(md5(password) + at)`.
pub fn salted_digest(password: &str, at: i64) -> String {
    md5_hex(&format!("{}{at}", md5_hex(password)))
}

/// Logs in with a digest and the timestamp `at`.
pub async fn login_with_digest(app: &impl SaltedDialect, identifier: &str, digest: &str, at: i64) -> TestResponse {
    async fn login<D: SaltedDialect>(app: &D, identifier: &str, digest: &str, at: i64) -> TestResponse {
        app.login_with_fields(0, D::proof_fields(identifier, digest, at)).await
    }
    login(app, identifier, digest, at).await
}

/// Logs in with the proof for the timestamp `at`.
pub async fn login_at(app: &impl SaltedDialect, identifier: &str, password: &str, at: i64) -> TestResponse {
    login_with_digest(app, identifier, &salted_digest(password, at), at).await
}

pub(super) async fn assert_accepted_at<D: SaltedDialect>(app: &D, at: i64) {
    app.assert_accepted(login_at(app, PHONE, PASSWORD, at).await);
}

async fn assert_rejected_at<D: SaltedDialect>(app: &D, at: i64, error: Error) {
    app.assert_fails_with(&login_at(app, PHONE, PASSWORD, at).await, &error);
}

/// Starts the service and adds the test user.
pub(super) async fn start_with_user<D: SaltedDialect>(settings: &[(&str, &str)]) -> D {
    let app = D::with_settings(settings).await;
    app.add_test_user().await;
    app
}

const NO_SKEW: [(&str, &str); 1] = [("STELE_TIMESTAMP_SKEW", "0")];

pub async fn a_proof_is_accepted_within_five_minutes_of_now<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    for offset in [-86_400, -301, 301, 86_400] {
        assert_rejected_at(&app, app.now() + offset, Error::Stale).await;
    }
    for offset in [-300, -1, 0, 1, 300] {
        assert_accepted_at(&app, app.now() + offset).await;
        assert_rejected_at(&app, app.now() + offset, Error::Replayed).await;
    }
}

pub async fn extreme_timestamps_are_rejected_as_stale<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    for at in [0, 1, 176_725_440_000, 17_672_544_000_000, i64::MAX / 1_000_000, i64::MAX - 1, i64::MAX] {
        assert_rejected_at(&app, at, Error::Stale).await;
    }
}

pub async fn the_timestamp_skew_is_configurable<D: SaltedDialect>() {
    let app: D = start_with_user(&[("STELE_TIMESTAMP_SKEW", "10s")]).await;
    assert_rejected_at(&app, app.now() - 11, Error::Stale).await;
    assert_accepted_at(&app, app.now() - 10).await;
}

pub async fn a_stale_proof_costs_the_same_for_every_user<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let stale_at = app.now() - 301;
    let (_, cost) = app.lab.measure_cost(login_at(&app, PHONE, PASSWORD, stale_at)).await;
    assert_eq!((cost.hashes, cost.state_store_calls.as_slice()), (0, ["admit"].as_slice()));
    for (identifier, password) in [(PHONE, WRONG_PASSWORD), (UNKNOWN_PHONE, WRONG_PASSWORD)] {
        let (response, other_cost) = app.lab.measure_cost(login_at(&app, identifier, password, stale_at)).await;
        app.assert_fails_with(&response, &Error::Stale);
        assert_eq!(other_cost, cost, "{identifier}");
    }
}

pub async fn a_proof_is_accepted_once_across_letter_cases_and_identifiers<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let (now, proof) = (app.now(), salted_digest(PASSWORD, app.now()));
    app.assert_accepted(login_with_digest(&app, PHONE, &proof.to_uppercase(), now).await);
    for identifier in D::identifiers() {
        for digest in [&proof, &proof.to_uppercase(), &bit_converter_format(&proof)] {
            app.assert_fails_with(&login_with_digest(&app, identifier, digest, now).await, &Error::Replayed);
        }
    }
}

/// A digest as .NET's `BitConverter.ToString` formats it, with white space around it.
pub(super) fn bit_converter_format(digest: &str) -> String {
    let pairs: Vec<_> = digest.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    format!(" {}\r\n", pairs.join("-").to_uppercase())
}

pub async fn a_used_proof_is_remembered_while_it_is_fresh<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let ahead = app.now() + 300;
    assert_accepted_at(&app, ahead).await;
    for _ in 0..10 {
        app.advance_clock(60);
        sweep_state_store(&app, 0).await;
        assert_rejected_at(&app, ahead, Error::Replayed).await;
    }
    app.advance_clock(1);
    assert_rejected_at(&app, ahead, Error::Stale).await;
}

/// Deletes from the state store what will have expired in `seconds`.
async fn sweep_state_store(app: &TestApp, seconds: u64) {
    let dependencies = app.lab.dependencies();
    dependencies.state.delete_expired(dependencies.now().saturating_add(Duration::from_secs(seconds))).await.unwrap();
}

pub async fn a_used_proof_is_remembered_when_the_clock_is_set_back<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let at = app.now();
    assert_accepted_at(&app, at).await;
    app.advance_clock(3_600 + 300);
    sweep_state_store(&app, 0).await;
    assert_rejected_at(&app, at, Error::Stale).await;
    assert_accepted_at(&app, app.now()).await;
    app.lab.clock().set(Timestamp::from_secs(at + 300));
    assert_rejected_at(&app, at, Error::Replayed).await;
    assert_accepted_at(&app, app.now()).await;
}

pub async fn a_proof_is_accepted_once_across_instances_and_restarts<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let now = app.now();
    assert_accepted_at(&app, now).await;
    // Another instance has separate connections. Each instance rejects the proofs that the other accepted.
    let second_instance = D::start(app.lab.second_instance().await).await;
    assert_rejected_at(&second_instance, now, Error::Replayed).await;
    assert_accepted_at(&second_instance, now + 1).await;
    assert_rejected_at(&app, now + 1, Error::Replayed).await;
    let TestApp { lab, service, .. } = second_instance.into();
    service.stop().await;
    drop(lab);
    // After a restart, used proofs are still rejected.
    let TestApp { lab, service, .. } = app.into();
    service.stop().await;
    let restarted = D::start(lab.restart().await).await;
    for at in [now, now + 1] {
        assert_rejected_at(&restarted, at, Error::Replayed).await;
    }
    assert_accepted_at(&restarted, now + 2).await;
}

pub async fn only_one_of_many_concurrent_logins_with_a_proof_succeeds<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let now = app.now();
    let responses = futures_util::future::join_all((0..16).map(|_| login_at(&app, PHONE, PASSWORD, now))).await;
    let (accepted, rejected): (Vec<_>, Vec<_>) = responses.iter().partition(|response| D::is_accepted(response));
    assert_eq!(accepted.len(), 1, "{responses:?}");
    rejected.into_iter().for_each(|response| app.assert_fails_with(response, &Error::Replayed));
}

pub async fn proofs_older_than_the_state_store_are_stale<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    app.lab.clock().set(app.lab.dependencies().state.created_at().await.unwrap());
    assert_rejected_at(&app, app.now(), Error::Stale).await;
    assert_rejected_at(&app, app.now() - 1, Error::Stale).await;
    app.advance_clock(1);
    assert_accepted_at(&app, app.now()).await;
}

pub async fn without_a_skew_a_used_proof_is_remembered_for_thirty_days<D: SaltedDialect>() {
    let app: D = start_with_user(&NO_SKEW).await;
    assert_accepted_at(&app, 1).await;
    app.advance_clock(30 * 86_400 - 1);
    sweep_state_store(&app, 0).await;
    assert_rejected_at(&app, 1, Error::Replayed).await;
}

pub async fn without_a_skew_a_used_proof_survives_the_loss_of_the_state_store<D: SaltedDialect>() {
    let app = D::with_settings(&NO_SKEW).await;
    let user = app.add_test_user().await;
    assert_accepted_at(&app, 1).await;
    app.set_status(&user, UserStatus::Disabled).await;
    assert_rejected_at(&app, 2, Error::Disabled).await;
    app.set_status(&user, UserStatus::Active).await;
    // Everything in the state store expires. Without a skew, used proofs are also stored in the user store.
    sweep_state_store(&app, 40 * 86_400).await;
    for at in [1, 2] {
        assert_rejected_at(&app, at, Error::Replayed).await;
    }
    assert_accepted_at(&app, 3).await;
}

pub async fn without_a_skew_rate_limited_proofs_are_not_used_up<D: SaltedDialect>() {
    let app: D = start_with_user(&NO_SKEW).await;
    for at in 0..6 {
        app.assert_fails_with(&login_at(&app, PHONE, WRONG_PASSWORD, at).await, &Error::WrongPassword);
    }
    let assert_rate_limited = async || assert_eq!(login_at(&app, PHONE, PASSWORD, 7).await.status, 429);
    assert_rate_limited().await;
    // The rate limit is exceeded at the last moment: a stranger fails to log in between the check of the rate limit and
    // the end of the login.
    app.advance_clock(60);
    fail_login_when_proof_is_marked(&app).await;
    assert_rate_limited().await;
    app.lab.set_store_observer(None);
    app.advance_clock(60);
    assert_accepted_at(&app, 7).await;
    assert_rejected_at(&app, 7, Error::Replayed).await;
}

/// Records one failed login of a stranger to the account directly after a proof has been marked as used.
async fn fail_login_when_proof_is_marked(app: &TestApp) {
    let dependencies = app.lab.dependencies().clone();
    let attempt = login_attempt_elsewhere(&dependencies).await;
    let (handle, once) = (tokio::runtime::Handle::current(), std::sync::Once::new());
    app.lab.set_store_observer(Some(Arc::new(move |operation, phase| {
        if (operation, phase) == ("use_proof", CallPhase::After) {
            once.call_once(|| {
                let (dependencies, attempt) = (dependencies.clone(), attempt.clone());
                let fail =
                    async move { dependencies.state.record_login_attempt(&attempt, &ProofResult::Invalid).await };
                std::thread::scope(|scope| {
                    scope.spawn(|| handle.block_on(fail)).join().unwrap().unwrap();
                });
            });
        }
        ResponseDelivery::Delivered
    })));
}

/// A login attempt at the test user's account from an address that no test uses.
async fn login_attempt_elsewhere(dependencies: &Dependencies) -> LoginAttempt {
    let account = dependencies.users.find_by_identifier(PHONE).await.unwrap().unwrap();
    LoginAttempt {
        account: LoginAttempt::account_key(Some(account.user.id), PHONE),
        epoch: account.epoch,
        origin: Origin::from_address([198, 51, 100, 7].into()),
        now: dependencies.now(),
        proof_made_at: None,
        limits: dependencies.policy.login_limits,
    }
}

pub async fn only_the_salted_digest_of_the_user_is_accepted<D: SaltedDialect>() {
    let app: D = start_with_user(&[D::SALTED_ONLY_SETTINGS, &[("STELE_LIMIT_ACCOUNT", "50")]].concat()).await;
    let (now, digest) = (app.now(), md5_hex(PASSWORD));
    for (description, proof) in [
        ("another user's", salted_digest("123456", now)),
        ("D itself", digest.clone()),
        ("of another second", salted_digest(PASSWORD, now - 1)),
        ("of D in two cases", md5_hex(&format!("{}{}{now}", digest[..16].to_uppercase(), &digest[16..]))),
        ("of another spelling of the timestamp", md5_hex(&format!("{digest}{now}.0"))),
        ("of the raw password", md5_hex(&format!("{PASSWORD}{now}"))),
        ("the timestamp first", md5_hex(&format!("{now}{digest}"))),
        ("of a digit moved from the timestamp", md5_hex(&format!("{digest}{}", now / 10))),
    ] {
        let response = login_with_digest(&app, PHONE, &proof, now).await;
        assert_eq!(response.text, app.render_error(&Error::WrongPassword), "{description}");
    }
    assert_accepted_at(&app, now).await;
}

pub async fn salted_proofs_are_rejected_without_a_sealed_digest<D: SaltedDialect>() {
    let app: D = start_with_user(&[("STELE_SALTED", "false")]).await;
    assert_rejected_at(&app, app.now(), Error::WrongPassword).await;
}

pub async fn stale_and_used_proofs_are_not_counted<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let now = app.now();
    assert_accepted_at(&app, now).await;
    for _ in 0..10 {
        app.assert_fails_with(&login_at(&app, PHONE, WRONG_PASSWORD, now - 301).await, &Error::Stale);
        assert_rejected_at(&app, now, Error::Replayed).await;
    }
    assert_accepted_at(&app, now + 1).await;
}

pub async fn checks_run_in_the_documented_order<D: SaltedDialect>() {
    let app = D::new().await;
    let user = app.add_test_user().await;
    let log_in_with_wrong_password = async |at| login_at(&app, PHONE, WRONG_PASSWORD, at).await;
    assert_accepted_at(&app, app.now()).await;
    app.set_status(&user, UserStatus::Disabled).await;
    // `Disabled` is reported last, and only after the right password.
    app.assert_fails_with(&log_in_with_wrong_password(app.now()).await, &Error::WrongPassword);
    assert_rejected_at(&app, app.now(), Error::Replayed).await;
    assert_rejected_at(&app, app.now() - 301, Error::Stale).await;
    app.advance_clock(1);
    assert_rejected_at(&app, app.now(), Error::Disabled).await;
    assert_rejected_at(&app, app.now(), Error::Replayed).await;
    // The right password of a disabled user does not reset the failure count: one failure was counted above, and these
    // are five more.
    for _ in 0..5 {
        app.assert_fails_with(&log_in_with_wrong_password(app.now()).await, &Error::WrongPassword);
    }
    // The rate limit is checked before freshness, the proof, replay and the account's status.
    let rate_limited = || Error::RateLimited { retry_after: Duration::from_secs(1) };
    app.assert_fails_with(&log_in_with_wrong_password(1).await, &rate_limited());
    app.assert_fails_with(&log_in_with_wrong_password(app.now()).await, &rate_limited());
    assert_rejected_at(&app, app.now(), rate_limited()).await;
    // Malformed input is rejected first.
    assert_eq!(login_with_digest(&app, PHONE, "x", 1).await.status, 400);
    app.set_status(&user, UserStatus::Active).await;
    app.advance_clock(1);
    assert_accepted_at(&app, app.now()).await;
}

pub async fn a_lost_sealing_key_is_a_server_error<D: SaltedDialect>() {
    let mut app: D = start_with_user(&[]).await;
    for key in [1, 99] {
        let sealer = Arc::new(Sealer::new([(key, [7; 32].into())]).unwrap());
        let running = app.lab.start_service_with(D::SERVICE, |dependencies| dependencies.sealer = sealer).await;
        let original = std::mem::replace(&mut app.service, running);
        assert_rejected_at(&app, app.now(), Error::internal("")).await;
        app.service = original;
    }
    // No failure was counted, and the proof was not marked as used.
    assert_accepted_at(&app, app.now()).await;
}
