//! Session lifetime: what ends a session and what does not.

use stele_core::Error;
use stele_core::session::{NewSession, Session, Token};
use stele_testkit::MessageCode as _;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::TestService;

impl TestService {
    /// Opens a session of `name` without a login; returns its token.
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
        let new_session = NewSession { key: token.key(), session, max_per_user: 10_000 };
        deps.state.open_session(&new_session).await.unwrap();
        token.expose().to_owned()
    }

    async fn is_token_live(&self, token: &str) -> bool {
        self.is_session_valid(&Token::parse(token).unwrap()).await
    }
}

#[tokio::test]
async fn pwdreset_revokes_all_older_sessions_in_all_dialects_and_opens_a_new_one() {
    let service = TestService::new().await;
    let mark = service.lab.user("mark").add().await;
    let old = service.login("mark", "123456").await.token();
    service.advance_clock(1);
    let used = service.login("mark", "123456").await.token();
    service.advance_clock(1);
    let cloudbox_token = Token::parse(&service.login_cloudbox("mark", "123456").await.unwrap()).unwrap();
    service.advance_clock(1);
    let fresh = service.pwdreset(&used, mark.number, "123456", "654321").await.token();
    assert!(
        !service.is_token_live(&old).await
            && !service.is_token_live(&used).await
            && service.is_token_live(&fresh).await
    );
    let cloudbox_session = service.lab.use_cases().authenticate("cloudbox", &cloudbox_token).await;
    assert!(matches!(cloudbox_session, Err(Error::NotAuthenticated)), "{cloudbox_session:?}");
}

#[tokio::test]
async fn a_failed_pwdreset_revokes_no_session() {
    let service = TestService::new().await;
    let mark = service.lab.user("mark").add().await;
    let token = service.login("mark", "123456").await.token();
    assert_eq!(service.pwdreset(&token, mark.number, "wrong", "654321").await.code(), "1002");
    assert!(service.is_token_live(&token).await);
}

#[tokio::test]
async fn a_client_token_does_not_expire() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    service.advance_clock(365 * 24 * 3_600);
    service.login("mark", "123456").await.token();
}
