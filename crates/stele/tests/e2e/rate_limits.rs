//! One limiter behind five dialects: an account is one, however it is named and wherever it is tried; an address is
//! what the peer is, whatever it says.

use crate::client::{DialectClient, DialectKind, MefpApp, Response, TestUser};
use crate::support::{Installation, Server};

const PASSWORD: &str = "the-right-one";

struct RateLimitTest {
    home: Installation,
    server: Server,
    client: DialectClient,
}

impl RateLimitTest {
    /// A first wait that no test outlasts: what is refused once stays refused.
    fn new(settings: &[(&str, &str)]) -> Self {
        let home = Installation::with_settings(
            &[&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LIMIT_WAIT", "60s")], settings].concat(),
        );
        let server = home.start_up();
        let app = MefpApp::new("melink", home.add_app("melink", "melink"));
        let token = home.run(&["token", "add", "e2e"]).last_stdout_word();
        let client = DialectClient::new(&server, app, &token);
        Self { home, server, client }
    }

    fn add_user(&self, name: &str, phone: &str) -> TestUser {
        let email = format!("{name}@Example.com");
        let id = self.home.add_user(name, PASSWORD, &["--phone", phone, "--email", &email]);
        TestUser { id, name: name.to_owned(), phone: phone.to_owned(), email }
    }
}

/// 429 in the dialect's own words, with a wait.
#[track_caller]
fn assert_rate_limited(dialect: DialectKind, answer: &Response) {
    let code = ["1007", "1007", "429", "42900", "-1"][dialect as usize];
    assert_eq!((answer.status, answer.code().as_str()), (429, code), "{dialect:?}: {answer:?}");
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{dialect:?}: {answer:?}");
    let fields = match dialect {
        DialectKind::Cloudbox | DialectKind::Tms => vec!["message", "code"],
        DialectKind::Portal => vec!["status", "content"],
        DialectKind::Mefp => vec!["result", "errors"],
        DialectKind::Jwt => vec!["code", "message"],
    };
    let members = answer.json.as_object().unwrap();
    assert!(members.len() == fields.len() && fields.iter().all(|field| members.contains_key(*field)), "{answer:?}");
}

#[tokio::test]
async fn failures_are_counted_across_dialects() {
    let scene = RateLimitTest::new(&[]);
    let (person, other) = (scene.add_user("mark", "13800138000"), scene.add_user("other", "13800138001"));
    for dialect in DialectKind::ALL {
        let answer = scene.client.login(dialect, &person, "guess-1").await;
        assert!(!answer.is_success() && answer.status == 200, "{dialect:?}: {answer:?}");
    }
    // Five are free. The sixth is answered too, and starts the wait.
    scene.client.login(DialectKind::Cloudbox, &person, "guess-2").await.assert_is(200, "1002");
    for dialect in DialectKind::ALL {
        for password in ["guess-3", PASSWORD] {
            assert_rate_limited(dialect, &scene.client.login(dialect, &person, password).await);
        }
        scene.client.login(dialect, &other, PASSWORD).await.assert_success();
    }
    scene.server.stop();
    // Neither a restart nor another server forgets.
    let again = scene.home.start_up();
    let client = DialectClient::new(&again, scene.client.app.clone(), &scene.client.client_token);
    for dialect in DialectKind::ALL {
        assert_rate_limited(dialect, &client.login(dialect, &person, PASSWORD).await);
    }
}

#[tokio::test]
async fn all_identifiers_of_an_account_share_one_failure_count() {
    let scene = RateLimitTest::new(&[]);
    let person = scene.add_user("Mark", "13800138000");
    let tries = [
        (DialectKind::Cloudbox, "mark".to_owned()),
        (DialectKind::Cloudbox, "MARK".to_owned()),
        (DialectKind::Tms, person.email.to_uppercase()),
        (DialectKind::Portal, person.email.to_lowercase()),
        (DialectKind::Mefp, person.phone.clone()),
        (DialectKind::Tms, person.phone.clone()),
    ];
    for (dialect, identifier) in tries {
        let answer = scene.client.login_as(dialect, &identifier, "guess").await;
        assert!(!answer.is_success() && answer.status == 200, "{dialect:?}, {identifier}: {answer:?}");
    }
    for identifier in ["mArK", &person.phone, &person.email, &person.email.to_uppercase()] {
        for dialect in [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Jwt] {
            assert_rate_limited(dialect, &scene.client.login_as(dialect, identifier, PASSWORD).await);
        }
    }
}

#[tokio::test]
async fn unknown_identifiers_are_rate_limited_like_known_ones() {
    let scene = RateLimitTest::new(&[]);
    for turn in 0..6 {
        let dialect = [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Mefp][turn % 3];
        scene.client.login_as(dialect, "13800138099", "guess").await;
    }
    for dialect in DialectKind::ALL {
        assert_rate_limited(dialect, &scene.client.login_as(dialect, "13800138099", "guess").await);
    }
}

#[tokio::test]
async fn a_successful_login_resets_the_failure_count_in_every_dialect() {
    let scene = RateLimitTest::new(&[]);
    let person = scene.add_user("mark", "13800138000");
    // MeFP's calls come from its app, the others from one address: a success clears what its own origin contributed.
    let direct = [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Portal, DialectKind::Jwt];
    for turn in 0..20 {
        let dialect = if turn < 16 { direct[turn % 4] } else { DialectKind::Mefp };
        let answer = scene.client.login(dialect, &person, "typo").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if turn % 4 == 3 {
            let dialect = if turn < 16 { direct[turn / 4] } else { dialect };
            scene.client.login(dialect, &person, PASSWORD).await.assert_success();
        }
    }
}

#[tokio::test]
async fn after_five_failures_an_unknown_origin_needs_a_challenge_where_supported() {
    let scene = RateLimitTest::new(&[]);
    let person = scene.add_user("mark", "13800138000");
    for _ in 0..5 {
        scene.client.login(DialectKind::Cloudbox, &person, "guess").await.assert_is(200, "1002");
    }
    scene.client.login(DialectKind::Portal, &person, PASSWORD).await.assert_is(200, "3208");
    let answer = scene.client.login(DialectKind::Jwt, &person, PASSWORD).await.assert_is(200, "-1");
    assert_eq!(answer.body, r#"{"code":-1,"message":"请输入验证码"}"#);
    // The other dialects have no field to ask in, and the account is not waiting yet.
    scene.client.login(DialectKind::Mefp, &person, PASSWORD).await.assert_success();
}

#[tokio::test]
async fn failures_of_strangers_do_not_lock_the_owner_out() {
    let scene = RateLimitTest::new(&[("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    let person = scene.add_user("mark", "13800138000");
    let owner = scene.client.with_address("198.51.100.7");
    owner.login(DialectKind::Jwt, &person, PASSWORD).await.assert_success();
    for turn in 0..6 {
        let stranger = scene.client.with_address(&format!("203.0.113.{turn}"));
        stranger.login(DialectKind::Cloudbox, &person, "guess").await.assert_is(200, "1002");
    }
    for dialect in DialectKind::ALL {
        assert_rate_limited(
            dialect,
            &scene.client.with_address("203.0.113.99").login(dialect, &person, PASSWORD).await,
        );
        if dialect != DialectKind::Mefp {
            owner.login(dialect, &person, PASSWORD).await.assert_success();
        }
    }
}

#[tokio::test]
async fn x_forwarded_for_of_an_untrusted_peer_is_ignored() {
    let scene = RateLimitTest::new(&[("STELE_LIMIT_ADDRESS", "4")]);
    let person = scene.add_user("mark", "13800138000");
    let headers = ["x-forwarded-for", "forwarded", "x-real-ip", "x_forwarded_for", "x-client-ip", "true-client-ip"];
    for (turn, header) in headers.iter().enumerate() {
        let mut spoofed = scene.client.clone();
        let dialect = [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Jwt][turn % 3];
        spoofed.default_headers = vec![(header, format!("203.0.113.{turn}")), ("x-stele-hop", "0".repeat(32))];
        let answer = spoofed.login_as(dialect, &format!("somebody-{turn}"), "guess").await;
        assert_eq!(answer.status, if turn < 4 { 200 } else { 429 }, "{turn}: {answer:?}");
    }
    for dialect in [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Portal, DialectKind::Jwt] {
        assert_rate_limited(
            dialect,
            &scene.client.with_address("198.51.100.1").login(dialect, &person, PASSWORD).await,
        );
    }
    // MeFP's callers are app servers: an address is not what is counted there.
    scene.client.login(DialectKind::Mefp, &person, PASSWORD).await.assert_success();
}

#[tokio::test]
async fn only_the_address_added_by_the_trusted_proxy_is_used() {
    let settings = [("STELE_LIMIT_ADDRESS", "2"), ("STELE_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")];
    let scene = RateLimitTest::new(&settings);
    let person = scene.add_user("mark", "13800138000");
    for turn in 0..4 {
        // The client writes something of its own at the left; the proxies append whom they saw.
        let guesser = scene.client.with_address(&format!("198.51.100.{turn}, 203.0.113.5, 10.1.2.3"));
        let answer = guesser.login_as(DialectKind::Jwt, &format!("somebody-{turn}"), "guess").await;
        assert_eq!(answer.status, if turn < 2 { 200 } else { 429 }, "{turn}: {answer:?}");
    }
    scene.client.with_address("203.0.113.6").login(DialectKind::Jwt, &person, PASSWORD).await.assert_success();
    assert_rate_limited(
        DialectKind::Jwt,
        &scene.client.with_address("203.0.113.5").login(DialectKind::Jwt, &person, PASSWORD).await,
    );
}
