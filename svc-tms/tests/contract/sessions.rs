//! How long a session lives and what ends it. A session shows itself alive by being good for a login or a change.

use stele_core::Error;
use stele_core::session::{NewSession, Session, Token};
use stele_testkit::MessageCode as _;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::TestService;

impl TestService {
    /// The token of a session of `name` that no login opened.
    pub(crate) async fn open_session_token(&self, name: &str) -> String {
        let deps = self.lab.dependencies();
        let account = deps.users.find_by_identifier(name).await.unwrap().unwrap();
        let token = Token::generate(deps.random.as_ref());
        let now = deps.now();
        let session = Session {
            user: account.user.id,
            dialect: "tms".to_owned(),
            app: String::new(),
            created: now,
            expires: now.saturating_add(deps.policy.session_ttl),
            last_seen: now,
            epoch: account.epoch,
        };
        let new = NewSession { key: token.key(), session, max_per_user: 10_000 };
        deps.state.open_session(&new).await.unwrap();
        token.expose().to_owned()
    }

    async fn is_token_live(&self, token: &str) -> bool {
        self.is_session_valid(&Token::parse(token).unwrap()).await
    }
}

#[tokio::test]
async fn pwdreset_ends_all_older_sessions_in_all_dialects_and_opens_a_new_one() {
    let app = TestService::new().await;
    let mark = app.lab.user("mark").add().await;
    let old = app.login("mark", "123456").await.token();
    app.advance_clock(1);
    let used = app.login("mark", "123456").await.token();
    app.advance_clock(1);
    let of_cloudbox = Token::parse(&app.login_cloudbox("mark", "123456").await.unwrap()).unwrap();
    app.advance_clock(1);
    let fresh = app.pwdreset(&used, mark.number, "123456", "654321").await.token();
    assert!(!app.is_token_live(&old).await && !app.is_token_live(&used).await && app.is_token_live(&fresh).await);
    let of_cloudbox = app.lab.use_cases().authenticate("cloudbox", &of_cloudbox).await;
    assert!(matches!(of_cloudbox, Err(Error::NotAuthenticated)), "{of_cloudbox:?}");
}

#[tokio::test]
async fn a_failed_pwdreset_ends_no_session() {
    let app = TestService::new().await;
    let mark = app.lab.user("mark").add().await;
    let token = app.login("mark", "123456").await.token();
    assert_eq!(app.pwdreset(&token, mark.number, "wrong", "654321").await.code(), "1002");
    assert!(app.is_token_live(&token).await);
}

#[tokio::test]
async fn a_client_token_does_not_expire() {
    let app = TestService::new().await;
    app.lab.user("mark").add().await;
    app.advance_clock(365 * 24 * 3_600);
    app.login("mark", "123456").await.token();
}
