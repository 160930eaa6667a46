//! How long a session lives and what ends it. A session shows itself alive by being good for a login or a change.

use stele_core::Error;
use stele_core::session::{NewSession, Session, Token};

use crate::support::Bench;

const HOUR: u64 = 3_600;

impl Bench {
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
        match self.lab.use_cases().authenticate("tms", &Token::parse(token).unwrap()).await {
            Ok(_) => true,
            Err(Error::NotAuthenticated) => false,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn pwdreset_ends_every_older_session_in_every_dialect_and_opens_one() {
    let bench = Bench::new().await;
    let mark = bench.lab.user("mark").add().await;
    let old = bench.login("mark", "123456").await.token();
    bench.pass(1);
    let used = bench.login("mark", "123456").await.token();
    bench.pass(1);
    let of_cloudbox = Token::parse(&bench.login_cloudbox("mark", "123456").await.unwrap()).unwrap();
    bench.pass(1);
    let fresh = bench.pwdreset(&used, mark.number, "123456", "654321").await.token();
    assert!(!bench.alive(&old).await && !bench.alive(&used).await && bench.alive(&fresh).await);
    let of_cloudbox = bench.lab.use_cases().authenticate("cloudbox", &of_cloudbox).await;
    assert!(matches!(of_cloudbox, Err(Error::NotAuthenticated)), "{of_cloudbox:?}");
}

#[tokio::test]
async fn a_failed_pwdreset_ends_nothing() {
    let bench = Bench::new().await;
    let mark = bench.lab.user("mark").add().await;
    let token = bench.login("mark", "123456").await.token();
    assert_eq!(bench.pwdreset(&token, mark.number, "wrong", "654321").await.code(), "1002");
    assert!(bench.alive(&token).await);
}

#[tokio::test]
async fn disabling_a_user_ends_their_sessions_for_good() {
    let bench = Bench::new().await;
    let mark = bench.lab.user("mark").add().await;
    let token = bench.login("mark", "123456").await.token();
    bench.disable(&mark, true).await;
    assert!(!bench.alive(&token).await);
    bench.disable(&mark, false).await;
    assert!(!bench.alive(&token).await);
}

#[tokio::test]
async fn a_session_lives_twelve_hours_after_its_last_use_and_a_client_token_longer() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let unused = bench.login("mark", "123456").await.token();
    bench.pass(1);
    let used = bench.login("mark", "123456").await.token();
    bench.pass(11 * HOUR);
    assert!(bench.alive(&used).await);
    bench.pass(HOUR);
    assert!(!bench.alive(&unused).await);
    bench.pass(10 * HOUR);
    assert!(bench.alive(&used).await);
    bench.pass(365 * 24 * HOUR);
    bench.login("mark", "123456").await.token();
}
