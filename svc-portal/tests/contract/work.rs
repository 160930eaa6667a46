//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what somebody costs.

use stele_testkit::Work;

use crate::portal::{PHONE, Portal};

const STRANGER: &str = "13900139000";

async fn with_a_user() -> Portal {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).email("1@hna.cn").add().await;
    portal
}

#[tokio::test]
async fn an_unknown_user_costs_what_a_wrong_password_costs() {
    let portal = with_a_user().await;
    // A name is somebody's, but not for this dialect.
    for username in [PHONE, "1@hna.cn", STRANGER, "nobody@qq.com", "mark", "nobody", "no\u{1}body"] {
        let (answer, work) = portal.lab.work(portal.login(username, "hna124")).await;
        assert!(["3201", "3202"].contains(&answer.code.as_str()), "{answer:?}");
        assert_eq!(work, Work::of(1, &["find"], &["admit", "settle"]), "{username}");
    }
}

#[tokio::test]
async fn a_code_costs_the_same_whoever_has_the_recipient() {
    let portal = with_a_user().await;
    for to in [PHONE, "1@hna.cn", STRANGER, "nobody@qq.com"] {
        let (answer, work) = portal.lab.work(portal.post("/code/send", &[("username", to)])).await;
        answer.is("200");
        assert_eq!(work, Work::of(0, &["find"], &["send_code"]), "{to}");
    }
}

#[tokio::test]
async fn a_wrong_code_costs_the_same_whoever_it_is_for() {
    let portal = with_a_user().await;
    for path in ["/i/resetpwd", "/i/register"] {
        for to in [PHONE, STRANGER] {
            let code = Portal::not(&portal.code(to).await);
            let (answer, work) = portal.lab.work(portal.with_code(path, to, "new123", &code)).await;
            answer.is("3208");
            assert_eq!(work, Work::of(0, &["find"], &["guess_code"]), "{path} {to}");
        }
    }
}

#[tokio::test]
async fn a_login_makes_no_more_trips_than_it_must() {
    let portal = with_a_user().await;
    let (answer, work) = portal.lab.work(portal.login(PHONE, "hna123")).await;
    answer.is("200");
    // The limits are asked before a hash is computed.
    assert_eq!(work, Work::of(1, &["find"], &["admit", "settle"]));
}

/// What single calls cannot show: the owner's login in the middle changes nothing for others.
#[tokio::test]
async fn a_sequence_of_calls_answers_and_costs_the_same_for_an_unknown_user() {
    let portal = Portal::with(&[("STELE_PORTAL_TELL_UNKNOWN", "false")]).await;
    portal.lab.user("mark").password("hna123").phone(PHONE).add().await;
    let mut seen = Vec::new();
    for username in [PHONE, STRANGER] {
        let mut calls = Vec::new();
        for n in 0..12 {
            if n == 4 {
                portal.lab.owner_logs_in(PHONE, "hna123").await;
            }
            let (answer, work) = match n % 3 {
                2 => portal.lab.work(portal.with_code("/i/resetpwd", username, "new123", "000000")).await,
                1 if n > 6 => portal.lab.work(portal.post("/code/send", &[("username", username)])).await,
                _ => portal.lab.work(portal.login(username, "wrong!")).await,
            };
            calls.push((answer.code, answer.retry_after, work));
            portal.lab.clock().advance(std::time::Duration::from_secs(1));
        }
        seen.push(calls);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].iter().any(|(code, ..)| code == "3208"), "the code was asked for");
}
