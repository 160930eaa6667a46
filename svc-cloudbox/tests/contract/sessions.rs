//! How long a session lives and what ends it.

use stele_core::session::{NewSession, Session, Token};

use crate::support::{BYE, Bench, NO_TOKEN, WRONG};

const HOUR: u64 = 3_600;

#[tokio::test]
async fn each_login_opens_a_session_of_its_own() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let one = bench.login("mark", "123456").await.token();
    bench.pass(1);
    let two = bench.login("mark", "123456").await.token();
    assert_ne!(one, two);
    bench.logout(&one).await.is(200, BYE);
    bench.logout(&two).await.is(200, BYE);
}

#[tokio::test]
async fn pwdreset_ends_every_older_session_and_opens_one() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    bench.lab.user("anna").add().await;
    let old = bench.login("mark", "123456").await.token();
    let other_user = bench.login("anna", "123456").await.token();
    bench.pass(1);
    let fresh = bench.pwdreset(user.id.to_string(), "123456", "654321").await.token();
    bench.logout(&old).await.is(401, NO_TOKEN);
    bench.logout(&fresh).await.is(200, BYE);
    bench.logout(&other_user).await.is(200, BYE);
}

#[tokio::test]
async fn a_failed_pwdreset_ends_nothing() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    let token = bench.login("mark", "123456").await.token();
    bench.pwdreset(user.id.to_string(), "wrong", "654321").await.is(200, WRONG);
    bench.logout(&token).await.is(200, BYE);
}

#[tokio::test]
async fn the_same_password_again_ends_sessions_too() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    let old = bench.login("mark", "123456").await.token();
    bench.pass(1);
    bench.pwdreset(user.id.to_string(), "123456", "123456").await.token();
    bench.logout(&old).await.is(401, NO_TOKEN);
}

#[tokio::test]
async fn disabling_a_user_ends_their_sessions_for_good() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    let token = bench.login("mark", "123456").await.token();
    bench.disable(&user, true).await;
    bench.logout(&token).await.is(401, NO_TOKEN);
    bench.disable(&user, false).await;
    bench.logout(&token).await.is(401, NO_TOKEN);
}

#[tokio::test]
async fn a_login_beyond_the_bound_ends_the_oldest_session() {
    let bench = Bench::with(&[("STELE_SESSIONS_PER_USER", "3")]).await;
    let user = bench.lab.user("mark").add().await;
    bench.lab.user("anna").add().await;
    let other_user = bench.login("anna", "123456").await.token();
    let mut tokens = Vec::new();
    for _ in 0..4 {
        bench.pass(1);
        tokens.push(bench.login("mark", "123456").await.token());
    }
    // A new password leaves two that are dead; they fall out before those that live.
    bench.pass(1);
    tokens.push(bench.pwdreset(user.id.to_string(), "123456", "654321").await.token());
    for _ in 0..2 {
        bench.pass(1);
        tokens.push(bench.login("mark", "654321").await.token());
    }
    let mut alive = Vec::new();
    for token in &tokens {
        alive.push(bench.lab.use_cases().authenticate("cloudbox", &Token::parse(token).unwrap()).await.is_ok());
    }
    assert_eq!(alive, [false, false, false, false, true, true, true]);
    bench.pass(1);
    bench.login("mark", "654321").await.token();
    bench.logout(&tokens[4]).await.is(401, NO_TOKEN);
    bench.logout(&tokens[5]).await.is(200, BYE);
    bench.logout(&other_user).await.is(200, BYE);
}

#[tokio::test]
async fn a_session_lives_twelve_hours_after_its_last_use() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let unused = bench.login("mark", "123456").await.token();
    bench.pass(1);
    let used = bench.login("mark", "123456").await.token();
    bench.pass(11 * HOUR);
    bench.lab.use_cases().authenticate("cloudbox", &Token::parse(&used).unwrap()).await.unwrap();
    bench.pass(HOUR);
    bench.logout(&unused).await.is(401, NO_TOKEN);
    bench.pass(10 * HOUR);
    bench.logout(&used).await.is(200, BYE);
}

#[tokio::test]
async fn a_token_of_another_dialect_is_not_one_of_ours() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    let token = Token::parse("139a2d1c6f0a44909670f4e749a1397d").unwrap();
    let at = bench.lab.clock().now();
    let session = Session {
        user: user.id,
        dialect: "tms".to_owned(),
        app: String::new(),
        created: at,
        expires: at.after(std::time::Duration::from_secs(HOUR)),
        last_seen: at,
        epoch: 0,
    };
    let new = NewSession { key: token.key(), session, per_user: 10_000 };
    bench.lab.deps().state.open_session(&new).await.unwrap();
    bench.logout(token.expose()).await.is(401, NO_TOKEN);
    bench.lab.use_cases().authenticate("tms", &token).await.unwrap();
}
