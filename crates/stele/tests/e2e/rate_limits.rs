//! Rate limits across the five dialects: an account has one failure count for all dialects and identifiers, and the
//! client address is the peer's unless a trusted proxy reports another.

use crate::client::{DialectClient, DialectKind, Response, TestUser};
use crate::support::{Installation, Server};

const PASSWORD: &str = "the-right-one";

struct RateLimitTest {
    installation: Installation,
    server: Server,
    client: DialectClient,
}

impl RateLimitTest {
    /// The first lockout lasts 60 s, longer than any test, so that it does not expire during the test.
    fn new(settings: &[(&str, &str)]) -> Self {
        let installation = Installation::with_settings(
            &[&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LIMIT_WAIT", "60s")], settings].concat(),
        );
        let server = installation.start_up();
        let client = DialectClient::register(&installation, &server);
        Self { installation, server, client }
    }

    fn add_user(&self, name: &str, phone: &str) -> TestUser {
        TestUser::add(&self.installation, name, phone, &format!("{name}@Example.com"), PASSWORD)
    }
}

/// Asserts a 429 response in the dialect's format, with `Retry-After`.
#[track_caller]
fn assert_rate_limited(dialect: DialectKind, response: &Response) {
    let code = ["1007", "1007", "429", "42900", "-1"][dialect as usize];
    assert_eq!((response.status, response.code().as_str()), (429, code), "{dialect:?}: {response:?}");
    let retry_after: u64 = response.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=900).contains(&retry_after), "{dialect:?}: {response:?}");
    let fields = match dialect {
        DialectKind::Cloudbox | DialectKind::Tms => vec!["message", "code"],
        DialectKind::Portal => vec!["status", "content"],
        DialectKind::Mefp => vec!["result", "errors"],
        DialectKind::Jwt => vec!["code", "message"],
    };
    let members = response.json.as_object().unwrap();
    assert!(members.len() == fields.len() && fields.iter().all(|field| members.contains_key(*field)), "{response:?}");
}

#[tokio::test]
async fn failures_are_counted_across_dialects() {
    let fixture = RateLimitTest::new(&[]);
    let (person, other) = (fixture.add_user("mark", "13800138000"), fixture.add_user("other", "13800138001"));
    for dialect in DialectKind::ALL {
        let response = fixture.client.login(dialect, &person, "guess-1").await;
        assert!(!response.is_success() && response.status == 200, "{dialect:?}: {response:?}");
    }
    // Five failures cause no lockout. The sixth attempt is still verified, and its failure starts the lockout.
    fixture.client.login(DialectKind::Cloudbox, &person, "guess-2").await.assert_is(200, "1002");
    for dialect in DialectKind::ALL {
        for password in ["guess-3", PASSWORD] {
            assert_rate_limited(dialect, &fixture.client.login(dialect, &person, password).await);
        }
        fixture.client.login(dialect, &other, PASSWORD).await.assert_success();
    }
    fixture.server.stop();
    // The lockout is still in effect after a restart.
    let restarted = fixture.installation.start_up();
    let client = DialectClient::new(&restarted, fixture.client.app.clone(), &fixture.client.client_token);
    for dialect in DialectKind::ALL {
        assert_rate_limited(dialect, &client.login(dialect, &person, PASSWORD).await);
    }
}

#[tokio::test]
async fn all_identifiers_of_an_account_share_one_failure_count() {
    let fixture = RateLimitTest::new(&[]);
    let person = fixture.add_user("Mark", "13800138000");
    let tries = [
        (DialectKind::Cloudbox, "mark".to_owned()),
        (DialectKind::Cloudbox, "MARK".to_owned()),
        (DialectKind::Tms, person.email.to_uppercase()),
        (DialectKind::Portal, person.email.to_lowercase()),
        (DialectKind::Mefp, person.phone.clone()),
        (DialectKind::Tms, person.phone.clone()),
    ];
    for (dialect, identifier) in tries {
        let response = fixture.client.login_as(dialect, &identifier, "guess").await;
        assert!(!response.is_success() && response.status == 200, "{dialect:?}, {identifier}: {response:?}");
    }
    for identifier in ["mArK", &person.phone, &person.email, &person.email.to_uppercase()] {
        for dialect in [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Jwt] {
            assert_rate_limited(dialect, &fixture.client.login_as(dialect, identifier, PASSWORD).await);
        }
    }
}

#[tokio::test]
async fn unknown_identifiers_are_rate_limited_like_known_ones() {
    let fixture = RateLimitTest::new(&[]);
    for index in 0..6 {
        let dialect = [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Mefp][index % 3];
        fixture.client.login_as(dialect, "13800138099", "guess").await;
    }
    for dialect in DialectKind::ALL {
        assert_rate_limited(dialect, &fixture.client.login_as(dialect, "13800138099", "guess").await);
    }
}

#[tokio::test]
async fn a_successful_login_resets_the_failure_count_in_every_dialect() {
    let fixture = RateLimitTest::new(&[]);
    let person = fixture.add_user("mark", "13800138000");
    // A success resets the failures of its own origin: the app's for MeFP, the address's for the others.
    let address_dialects = [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Portal, DialectKind::Jwt];
    for index in 0..20 {
        let dialect = if index < 16 { address_dialects[index % 4] } else { DialectKind::Mefp };
        let response = fixture.client.login(dialect, &person, "typo").await;
        assert_eq!(response.status, 200, "{response:?}");
        if index % 4 == 3 {
            let dialect = if index < 16 { address_dialects[index / 4] } else { dialect };
            fixture.client.login(dialect, &person, PASSWORD).await.assert_success();
        }
    }
}

#[tokio::test]
async fn after_five_failures_an_unknown_origin_needs_a_challenge_where_supported() {
    let fixture = RateLimitTest::new(&[]);
    let person = fixture.add_user("mark", "13800138000");
    for _ in 0..5 {
        fixture.client.login(DialectKind::Cloudbox, &person, "guess").await.assert_is(200, "1002");
    }
    fixture.client.login(DialectKind::Portal, &person, PASSWORD).await.assert_is(200, "3208");
    let response = fixture.client.login(DialectKind::Jwt, &person, PASSWORD).await.assert_is(200, "-1");
    assert_eq!(response.body, r#"{"code":-1,"message":"请输入验证码"}"#);
    // The other dialects have no field for a challenge, and the account is not locked out yet.
    fixture.client.login(DialectKind::Mefp, &person, PASSWORD).await.assert_success();
}

#[tokio::test]
async fn failures_of_strangers_do_not_lock_the_owner_out() {
    let fixture = RateLimitTest::new(&[("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    let person = fixture.add_user("mark", "13800138000");
    let owner = fixture.client.with_address("198.51.100.7");
    owner.login(DialectKind::Jwt, &person, PASSWORD).await.assert_success();
    for index in 0..6 {
        let stranger = fixture.client.with_address(&format!("203.0.113.{index}"));
        stranger.login(DialectKind::Cloudbox, &person, "guess").await.assert_is(200, "1002");
    }
    for dialect in DialectKind::ALL {
        assert_rate_limited(
            dialect,
            &fixture.client.with_address("203.0.113.99").login(dialect, &person, PASSWORD).await,
        );
        if dialect != DialectKind::Mefp {
            owner.login(dialect, &person, PASSWORD).await.assert_success();
        }
    }
}

#[tokio::test]
async fn x_forwarded_for_of_an_untrusted_peer_is_ignored() {
    let fixture = RateLimitTest::new(&[("STELE_LIMIT_ADDRESS", "4")]);
    let person = fixture.add_user("mark", "13800138000");
    let headers = ["x-forwarded-for", "forwarded", "x-real-ip", "x_forwarded_for", "x-client-ip", "true-client-ip"];
    for (index, header) in headers.iter().enumerate() {
        let mut spoofed = fixture.client.clone();
        let dialect = [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Jwt][index % 3];
        spoofed.default_headers = vec![(header, format!("203.0.113.{index}")), ("x-stele-hop", "0".repeat(32))];
        let response = spoofed.login_as(dialect, &format!("unknown-{index}"), "guess").await;
        assert_eq!(response.status, if index < 4 { 200 } else { 429 }, "{index}: {response:?}");
    }
    for dialect in [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Portal, DialectKind::Jwt] {
        assert_rate_limited(
            dialect,
            &fixture.client.with_address("198.51.100.1").login(dialect, &person, PASSWORD).await,
        );
    }
    // MeFP's clients are app servers, so it counts by app and not by address.
    fixture.client.login(DialectKind::Mefp, &person, PASSWORD).await.assert_success();
}

#[tokio::test]
async fn only_the_address_added_by_the_trusted_proxy_is_used() {
    let settings = [("STELE_LIMIT_ADDRESS", "2"), ("STELE_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")];
    let fixture = RateLimitTest::new(&settings);
    let person = fixture.add_user("mark", "13800138000");
    for index in 0..4 {
        // The client sends a forged first element; each proxy appends the address of its peer.
        let guesser = fixture.client.with_address(&format!("198.51.100.{index}, 203.0.113.5, 10.1.2.3"));
        let response = guesser.login_as(DialectKind::Jwt, &format!("unknown-{index}"), "guess").await;
        assert_eq!(response.status, if index < 2 { 200 } else { 429 }, "{index}: {response:?}");
    }
    fixture.client.with_address("203.0.113.6").login(DialectKind::Jwt, &person, PASSWORD).await.assert_success();
    assert_rate_limited(
        DialectKind::Jwt,
        &fixture.client.with_address("203.0.113.5").login(DialectKind::Jwt, &person, PASSWORD).await,
    );
}
