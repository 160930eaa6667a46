//! How long a session lives and what ends it. A session shows itself alive by being good for a login or a change.

use stele_core::Error;
use stele_core::session::{NewSession, Session, Token};
use stele_testkit::MessageCode as _;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::app::App;

impl App {
    /// The token of a session of `name` that no login opened.
    pub(crate) async fn live_token(&self, name: &str) -> String {
        let deps = self.lab.deps();
        let account = deps.users.find(name).await.unwrap().unwrap();
        let token = Token::generate(deps.random.as_ref());
        let now = deps.now();
        let session = Session {
            user: account.user.id,
            dialect: "tms".to_owned(),
            app: String::new(),
            created: now,
            expires: now.after(deps.policy.session_ttl),
            last_seen: now,
            epoch: account.epoch,
        };
        let new = NewSession { key: token.key(), session, per_user: 10_000 };
        deps.state.open_session(&new).await.unwrap();
        token.expose().to_owned()
    }

    async fn alive(&self, token: &str) -> bool {
        self.lives(&Token::parse(token).unwrap()).await
    }
}

#[tokio::test]
async fn pwdreset_ends_every_older_session_in_every_dialect_and_opens_one() {
    let app = App::new().await;
    let mark = app.lab.user("mark").add().await;
    let old = app.login("mark", "123456").await.token();
    app.wait(1);
    let used = app.login("mark", "123456").await.token();
    app.wait(1);
    let of_cloudbox = Token::parse(&app.login_cloudbox("mark", "123456").await.unwrap()).unwrap();
    app.wait(1);
    let fresh = app.pwdreset(&used, mark.number, "123456", "654321").await.token();
    assert!(!app.alive(&old).await && !app.alive(&used).await && app.alive(&fresh).await);
    let of_cloudbox = app.lab.use_cases().authenticate("cloudbox", &of_cloudbox).await;
    assert!(matches!(of_cloudbox, Err(Error::NotAuthenticated)), "{of_cloudbox:?}");
}

#[tokio::test]
async fn a_failed_pwdreset_ends_nothing() {
    let app = App::new().await;
    let mark = app.lab.user("mark").add().await;
    let token = app.login("mark", "123456").await.token();
    assert_eq!(app.pwdreset(&token, mark.number, "wrong", "654321").await.code(), "1002");
    assert!(app.alive(&token).await);
}

#[tokio::test]
async fn a_client_token_does_not_expire() {
    let app = App::new().await;
    app.lab.user("mark").add().await;
    app.wait(365 * 24 * 3_600);
    app.login("mark", "123456").await.token();
}
