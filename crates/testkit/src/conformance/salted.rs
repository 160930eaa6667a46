//! Proofs that are salted with a timestamp: how fresh they must be, and that each is accepted once.

use std::sync::Arc;
use std::time::Duration;

use stele_core::origin::Origin;
use stele_core::ports::{Attempt, Verdict};
use stele_core::seal::Sealer;
use stele_core::time::Timestamp;
use stele_core::{Deps, Error};

use super::{PASSWORD, PHONE, STRANGER, SaltedDialect, WRONG};
use crate::{Answer, Moment, TestApp, md5_hex};

/// JSON values that are no digest.
const BAD_DIGESTS: &[&str] = &[
    "\"123456\"",
    "\"0b945c1fd92aa2623b704d8d37d8ffc\"",
    "\"00b945c1fd92aa2623b704d8d37d8ffc0\"",
    "\"0 0b945c1fd92aa2623b704d8d37d8ffc\"",
    "\"00-b945-c1-fd-92-aa-26-23-b7-04-d8-d3-7d-8f-fc\"",
    "\"g0b945c1fd92aa2623b704d8d37d8ffc\"",
    "\"00００b945c1fd92aa2623b704d8d37d8ff\"",
    "12345678901234567890123456789012",
];

/// JSON values that are no timestamp.
const BAD_TIMESTAMPS: &[&str] = &[
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

/// JSON values that are no user's id.
const BAD_USER_IDS: &[&str] =
    &["\"me\"", "-4", "1.5", "\"{0b922f14-d00b-11e7-aafd-525400bbac8e}\"", "\"1 OR 1=1\"", "\"0b922f14\""];

/// Bad values of the fields that cloudbox and TMS have.
pub const BAD_VALUES: &[(&str, &[&str])] = &[
    ("password", BAD_DIGESTS),
    ("orig_password", BAD_DIGESTS),
    ("new_password", BAD_DIGESTS),
    ("timestamp", BAD_TIMESTAMPS),
    ("user_id", BAD_USER_IDS),
];

/// `md5(md5(password) + at)`.
pub fn salted(password: &str, at: i64) -> String {
    md5_hex(&format!("{}{at}", md5_hex(password)))
}

/// Logs in with a digest that is said to be made at `at`.
pub async fn prove(app: &impl SaltedDialect, identifier: &str, digest: &str, at: i64) -> Answer {
    async fn of<D: SaltedDialect>(app: &D, identifier: &str, digest: &str, at: i64) -> Answer {
        app.log_in_with(0, D::proof_fields(identifier, digest, at)).await
    }
    of(app, identifier, digest, at).await
}

/// Logs in with a proof made at `at`.
pub async fn login_at(app: &impl SaltedDialect, identifier: &str, password: &str, at: i64) -> Answer {
    prove(app, identifier, &salted(password, at), at).await
}

pub(super) async fn accepts<D: SaltedDialect>(app: &D, at: i64) {
    app.assert_accepted(login_at(app, PHONE, PASSWORD, at).await);
}

async fn refuses<D: SaltedDialect>(app: &D, at: i64, error: Error) {
    app.fails(&login_at(app, PHONE, PASSWORD, at).await, &error);
}

/// The service with the user of most tests.
pub(super) async fn app<D: SaltedDialect>(settings: &[(&str, &str)]) -> D {
    let app = D::with(settings).await;
    app.mark().await;
    app
}

const NO_SKEW: [(&str, &str); 1] = [("STELE_TIMESTAMP_SKEW", "0")];

pub async fn a_proof_is_good_for_five_minutes_either_way<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    for offset in [-86_400, -301, 301, 86_400] {
        refuses(&app, app.now() + offset, Error::Stale).await;
    }
    for offset in [-300, -1, 0, 1, 300] {
        accepts(&app, app.now() + offset).await;
        refuses(&app, app.now() + offset, Error::Replayed).await;
    }
}

pub async fn extreme_timestamps_are_stale_and_nothing_worse<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    for at in [0, 1, 176_725_440_000, 17_672_544_000_000, i64::MAX / 1_000_000, i64::MAX - 1, i64::MAX] {
        refuses(&app, at, Error::Stale).await;
    }
}

pub async fn the_skew_is_a_setting<D: SaltedDialect>() {
    let app: D = app(&[("STELE_TIMESTAMP_SKEW", "10s")]).await;
    refuses(&app, app.now() - 11, Error::Stale).await;
    accepts(&app, app.now() - 10).await;
}

pub async fn a_stale_proof_costs_the_same_for_every_user<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let then = app.now() - 301;
    let (_, cost) = app.lab.work(login_at(&app, PHONE, PASSWORD, then)).await;
    assert_eq!((cost.hashes, cost.state.as_slice()), (0, ["admit"].as_slice()));
    for (identifier, password) in [(PHONE, WRONG), (STRANGER, WRONG)] {
        let (answer, work) = app.lab.work(login_at(&app, identifier, password, then)).await;
        app.fails(&answer, &Error::Stale);
        assert_eq!(work, cost, "{identifier}");
    }
}

pub async fn a_proof_is_accepted_once_in_either_letter_case_by_every_identifier<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let (now, proof) = (app.now(), salted(PASSWORD, app.now()));
    app.assert_accepted(prove(&app, PHONE, &proof.to_uppercase(), now).await);
    for identifier in D::identifiers() {
        for digest in [&proof, &proof.to_uppercase(), &bit_converter(&proof)] {
            app.fails(&prove(&app, identifier, digest, now).await, &Error::Replayed);
        }
    }
}

/// A digest as .NET's `BitConverter.ToString` writes it, with white space around it.
pub(super) fn bit_converter(digest: &str) -> String {
    let pairs: Vec<_> = digest.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    format!(" {}\r\n", pairs.join("-").to_uppercase())
}

pub async fn a_proof_is_remembered_for_as_long_as_it_would_be_fresh<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let ahead = app.now() + 300;
    accepts(&app, ahead).await;
    for _ in 0..10 {
        app.wait(60);
        sweep(&app, 0).await;
        refuses(&app, ahead, Error::Replayed).await;
    }
    app.wait(1);
    refuses(&app, ahead, Error::Stale).await;
}

/// Has the short-lived store forget what will have expired in so many seconds.
async fn sweep(app: &TestApp, seconds: u64) {
    let deps = app.lab.deps();
    deps.state.sweep(deps.now().after(Duration::from_secs(seconds))).await.unwrap();
}

pub async fn a_proof_is_remembered_when_the_clock_is_set_back_by_an_hour<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let at = app.now();
    accepts(&app, at).await;
    app.wait(3_600 + 300);
    sweep(&app, 0).await;
    refuses(&app, at, Error::Stale).await;
    accepts(&app, app.now()).await;
    app.lab.clock().set(Timestamp::from_secs(at + 300));
    refuses(&app, at, Error::Replayed).await;
    accepts(&app, app.now()).await;
}

pub async fn a_proof_is_accepted_once_by_all_instances_and_restarts<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let now = app.now();
    accepts(&app, now).await;
    // Another instance has its own handles and connections, and this one's use is known to it; and the other way round.
    let other = D::start(app.lab.another().await).await;
    refuses(&other, now, Error::Replayed).await;
    accepts(&other, now + 1).await;
    refuses(&app, now + 1, Error::Replayed).await;
    let TestApp { lab, service, .. } = other.into();
    service.stop().await;
    drop(lab);
    // Nothing of it was only in memory.
    let TestApp { lab, service, .. } = app.into();
    service.stop().await;
    let again = D::start(lab.restarted().await).await;
    for at in [now, now + 1] {
        refuses(&again, at, Error::Replayed).await;
    }
    accepts(&again, now + 2).await;
}

pub async fn only_one_of_many_at_once_gets_in<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let now = app.now();
    let answers = futures_util::future::join_all((0..16).map(|_| login_at(&app, PHONE, PASSWORD, now))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| D::accepted(answer));
    assert_eq!(accepted.len(), 1, "{answers:?}");
    refused.into_iter().for_each(|answer| app.fails(answer, &Error::Replayed));
}

pub async fn proofs_from_before_an_empty_store_was_born_are_stale<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    app.lab.clock().set(app.lab.deps().state.birth().await.unwrap());
    refuses(&app, app.now(), Error::Stale).await;
    refuses(&app, app.now() - 1, Error::Stale).await;
    app.wait(1);
    accepts(&app, app.now()).await;
}

pub async fn without_a_skew_a_proof_is_remembered_for_thirty_days<D: SaltedDialect>() {
    let app: D = app(&NO_SKEW).await;
    accepts(&app, 1).await;
    app.wait(30 * 86_400 - 1);
    sweep(&app, 0).await;
    refuses(&app, 1, Error::Replayed).await;
}

pub async fn without_a_skew_a_used_proof_survives_the_loss_of_the_short_lived_store<D: SaltedDialect>() {
    let app = D::with(&NO_SKEW).await;
    let user = app.mark().await;
    accepts(&app, 1).await;
    app.disable(&user, true).await;
    refuses(&app, 2, Error::Disabled).await;
    app.disable(&user, false).await;
    // All that it holds expires; what the users' database holds does not.
    sweep(&app, 40 * 86_400).await;
    for at in [1, 2] {
        refuses(&app, at, Error::Replayed).await;
    }
    accepts(&app, 3).await;
}

pub async fn without_a_skew_what_the_limits_refuse_is_not_used_up<D: SaltedDialect>() {
    let app: D = app(&NO_SKEW).await;
    for at in 0..6 {
        app.fails(&login_at(&app, PHONE, WRONG, at).await, &Error::WrongPassword);
    }
    let limited = async || assert_eq!(login_at(&app, PHONE, PASSWORD, 7).await.status, 429);
    limited().await;
    // Refused at the last moment: others failed between the two looks at the limits.
    app.wait(60);
    fail_when_a_proof_is_marked(&app).await;
    limited().await;
    app.lab.watch(None);
    app.wait(60);
    accepts(&app, 7).await;
    refuses(&app, 7, Error::Replayed).await;
}

/// Has somebody elsewhere fail at the account, once, right after a proof was marked as used.
async fn fail_when_a_proof_is_marked(app: &TestApp) {
    let deps = app.lab.deps().clone();
    let attempt = attempt_elsewhere(&deps).await;
    let (handle, once) = (tokio::runtime::Handle::current(), std::sync::Once::new());
    app.lab.watch(Some(Arc::new(move |call, moment| {
        if (call, moment) == ("use_proof", Moment::After) {
            once.call_once(|| {
                let (deps, attempt) = (deps.clone(), attempt.clone());
                let fail = async move { deps.state.settle(&attempt, &Verdict::Wrong).await };
                std::thread::scope(|scope| {
                    scope.spawn(|| handle.block_on(fail)).join().unwrap().unwrap();
                });
            });
        }
        false
    })));
}

async fn attempt_elsewhere(deps: &Deps) -> Attempt {
    let account = deps.users.find(PHONE).await.unwrap().unwrap();
    Attempt {
        account: Attempt::account_key(Some(account.user.id), PHONE),
        epoch: account.epoch,
        origin: Origin::address([198, 51, 100, 7].into()),
        now: deps.now(),
        proof_made: None,
        limits: deps.policy.guessing,
    }
}

pub async fn only_the_users_own_salted_digest_proves<D: SaltedDialect>() {
    let app: D = app(&[D::SALTED_ALONE, &[("STELE_LIMIT_ACCOUNT", "50")]].concat()).await;
    let (now, digest) = (app.now(), md5_hex(PASSWORD));
    for (what, proof) in [
        ("another user's", salted("123456", now)),
        ("D itself", digest.clone()),
        ("of another second", salted(PASSWORD, now - 1)),
        ("of D in two cases", md5_hex(&format!("{}{}{now}", digest[..16].to_uppercase(), &digest[16..]))),
        ("of another writing of the timestamp", md5_hex(&format!("{digest}{now}.0"))),
        ("of the raw password", md5_hex(&format!("{PASSWORD}{now}"))),
        ("the timestamp first", md5_hex(&format!("{now}{digest}"))),
        ("of a digit moved from the timestamp", md5_hex(&format!("{digest}{}", now / 10))),
    ] {
        let answer = prove(&app, PHONE, &proof, now).await;
        assert_eq!(answer.text, app.answer_to(&Error::WrongPassword), "{what}");
    }
    accepts(&app, now).await;
}

pub async fn without_sealed_digests_no_salted_proof_is_accepted<D: SaltedDialect>() {
    let app: D = app(&[("STELE_SALTED", "false")]).await;
    refuses(&app, app.now(), Error::WrongPassword).await;
}

pub async fn stale_and_used_proofs_are_not_counted<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let now = app.now();
    accepts(&app, now).await;
    for _ in 0..10 {
        app.fails(&login_at(&app, PHONE, WRONG, now - 301).await, &Error::Stale);
        refuses(&app, now, Error::Replayed).await;
    }
    accepts(&app, now + 1).await;
}

pub async fn checks_come_in_the_designs_order<D: SaltedDialect>() {
    let app = D::new().await;
    let user = app.mark().await;
    let wrong = async |at| login_at(&app, PHONE, WRONG, at).await;
    accepts(&app, app.now()).await;
    app.disable(&user, true).await;
    // Disabled is answered last, and only to those who know the password.
    app.fails(&wrong(app.now()).await, &Error::WrongPassword);
    refuses(&app, app.now(), Error::Replayed).await;
    refuses(&app, app.now() - 301, Error::Stale).await;
    app.wait(1);
    refuses(&app, app.now(), Error::Disabled).await;
    refuses(&app, app.now(), Error::Replayed).await;
    // A disabled user's success forgives nothing: one failure was counted above, these are five more.
    for _ in 0..5 {
        app.fails(&wrong(app.now()).await, &Error::WrongPassword);
    }
    // The wait comes before staleness, before a wrong, a replayed and a disabled user's proof.
    let wait = || Error::TooMany { retry_after: Duration::from_secs(1) };
    app.fails(&wrong(1).await, &wait());
    app.fails(&wrong(app.now()).await, &wait());
    refuses(&app, app.now(), wait()).await;
    // What cannot be read is refused before all.
    assert_eq!(prove(&app, PHONE, "x", 1).await.status, 400);
    app.disable(&user, false).await;
    app.wait(1);
    accepts(&app, app.now()).await;
}

pub async fn a_lost_sealing_key_is_our_fault_not_the_users<D: SaltedDialect>() {
    let mut app: D = app(&[]).await;
    for key in [1, 99] {
        let other = Arc::new(Sealer::new([(key, [7; 32].into())]).unwrap());
        let running = app.lab.start_with(D::SERVICE, |deps| deps.sealer = other).await;
        let own = std::mem::replace(&mut app.service, running);
        refuses(&app, app.now(), Error::internal("")).await;
        app.service = own;
    }
    // Nothing was counted or used up.
    accepts(&app, app.now()).await;
}
