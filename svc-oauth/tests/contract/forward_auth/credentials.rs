//! The credentials of old clients, each accepted as its dialect accepts it, and as nothing else.

use std::time::Duration;

use stele_core::user::{UserRef, UserStatus};

use super::support::{Contract, ForwardAuthApp, USER};

#[actix_web::test]
async fn each_dialects_credential_is_accepted_where_its_clients_send_it() {
    let app = ForwardAuthApp::start().await;
    for (dialect, acr) in [("cloudbox", "legacy"), ("tms", "legacy"), ("portal", "pwd")] {
        let token = app.log_in(dialect).await.token;
        let token = token.expose();
        let upper = token.to_uppercase();
        let fields =
            [token.to_owned(), format!("Bearer {token}"), format!("bearer: \"{token}\""), format!("Token {upper}")];
        for contract in Contract::ALL {
            for field in &fields {
                let answer = app.ask(contract, "/", &[("Authorization", field)]).await;
                assert_eq!(answer.status, 200, "{contract:?} {dialect} {field}");
                assert_eq!((answer.header("x-stele-dialect"), answer.header("x-stele-acr")), (dialect, acr));
            }
            let answer = app.ask(contract, &format!("/x?a=b&token={token}&c"), &[]).await;
            assert_eq!((answer.status, answer.header("x-stele-dialect")), (200, dialect), "{contract:?} in the query");
        }
    }
}

#[actix_web::test]
async fn the_portals_cookie_is_accepted_and_no_other_dialects_token_in_it() {
    let app = ForwardAuthApp::start().await;
    for (dialect, status) in [("portal", 200), ("cloudbox", 401), ("tms", 401), ("jwt", 401)] {
        let token = app.log_in(dialect).await.token;
        let cookie = format!("theme=dark; stele_session={}", token.expose());
        for contract in Contract::ALL {
            let answer = app.ask(contract, "/", &[("Cookie", &cookie)]).await;
            assert_eq!(answer.status, status, "{contract:?} {dialect}");
        }
    }
}

#[actix_web::test]
async fn a_login_jwt_is_accepted_only_with_its_signature() {
    let app = ForwardAuthApp::start().await;
    let login = app.log_in("jwt").await;
    let jwt = app.login_jwt(&login);
    for contract in Contract::ALL {
        for field in [jwt.clone(), format!("Bearer {jwt}")] {
            let answer = app.ask(contract, "/", &[("Authorization", &field)]).await;
            assert_eq!(answer.status, 200, "{contract:?}");
            assert_eq!((answer.header("x-stele-dialect"), answer.header("x-stele-acr")), ("jwt", "pwd"));
        }
        assert_eq!(app.ask(contract, &format!("/?token={jwt}"), &[]).await.status, 200, "{contract:?}");
    }
    // The session token alone stands in its payload for all to read.
    let other = app.log_in("jwt").await;
    let (head, signature) = jwt.rsplit_once('.').unwrap();
    let other_signature = app.login_jwt(&other).rsplit_once('.').unwrap().1.to_owned();
    let none = format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.{}.", head.split('.').nth(1).unwrap());
    let hostile = [
        login.token.expose().to_owned(),
        format!("{head}.{other_signature}"),
        format!("{head}."),
        none,
        format!("{}.{signature}", head.replacen('e', "f", 1)),
    ];
    for credential in hostile {
        app.ask(Contract::Nginx, "/", &[("Authorization", &credential)]).await.assert_denied(401);
    }
}

#[actix_web::test]
async fn a_login_jwt_of_a_session_of_another_dialect_is_refused() {
    let app = ForwardAuthApp::start().await;
    let portal = app.log_in("portal").await;
    let jwt = app.login_jwt(&portal);
    app.ask(Contract::Nginx, "/", &[("Authorization", &jwt)]).await.assert_denied(401);
}

#[actix_web::test]
async fn a_session_that_has_ended_is_no_credential() {
    let app = ForwardAuthApp::start().await;
    let unknown = "0123456789abcdef0123456789abcdef";
    app.ask(Contract::Nginx, "/", &[("Authorization", unknown)]).await.assert_denied(401);

    let ended = app.log_in("portal").await;
    assert_eq!(app.ask_with("a.example", "/", &ended.token).await.status, 200);
    app.lab.use_cases().logout("portal", &ended.token).await.unwrap();
    app.ask_with("a.example", "/", &ended.token).await.assert_denied(401);

    let disabled = app.log_in("tms").await;
    app.set_status(&disabled.user, UserStatus::Disabled).await;
    app.ask_with("a.example", "/", &disabled.token).await.assert_denied(401);
    app.set_status(&disabled.user, UserStatus::Active).await;

    let changed = app.log_in("cloudbox").await;
    app.set_password(&changed.user, "another password").await;
    app.ask_with("a.example", "/", &changed.token).await.assert_denied(401);
}

#[actix_web::test]
async fn using_a_session_extends_it_and_an_unused_one_expires() {
    let app = ForwardAuthApp::start_with(&[("STELE_SESSION_TTL", "10m")]).await;
    let (used, unused) = (app.log_in("portal").await, app.log_in("portal").await);
    for _ in 0..4 {
        app.advance_clock(300);
        assert_eq!(app.ask_with("a.example", "/", &used.token).await.status, 200);
    }
    app.ask_with("a.example", "/", &unused.token).await.assert_denied(401);
    app.advance_clock(600);
    app.ask_with("a.example", "/", &used.token).await.assert_denied(401);
}

#[actix_web::test]
async fn different_credentials_in_one_request_are_refused() {
    let app = ForwardAuthApp::start().await;
    let (first, second) = (app.log_in("portal").await.token, app.log_in("portal").await.token);
    let cookie = |token: &stele_core::session::Token| format!("stele_session={}", token.expose());
    for contract in Contract::ALL {
        let query = format!("/?token={}", first.expose());
        for (target, client) in [
            ("/", vec![("Authorization", first.expose()), ("Cookie", &cookie(&second))]),
            ("/", vec![("Authorization", "Basic bWFyazoxMjM0NTY="), ("Cookie", &cookie(&first))]),
            ("/", vec![("Authorization", first.expose()), ("Authorization", second.expose())]),
            ("/", vec![("Cookie", &format!("{}; {}", cookie(&first), cookie(&second)))]),
            (&query, vec![("Authorization", second.expose())]),
            (&query, vec![("Cookie", &cookie(&second))]),
            (&format!("{query}&token={}", second.expose()), vec![]),
        ] {
            app.ask(contract, target, &client).await.assert_denied(401);
        }
        // One credential in all places is one.
        let all = [("Authorization", first.expose()), ("Cookie", &cookie(&first))];
        assert_eq!(app.ask(contract, &query, &all).await.status, 200, "{contract:?}");
    }
}

#[actix_web::test]
async fn a_user_without_a_name_or_with_a_hostile_one_is_encoded() {
    let app = ForwardAuthApp::start().await;
    for (name, encoded) in [("张三", "%E5%BC%A0%E4%B8%89"), ("-", "%2D"), ("a b,\"c", "a%20b%2C%22c")] {
        app.lab.user(name).add().await;
        let login = app.log_in_as(name, "portal").await;
        let answer = app.ask_with("a.example", "/", &login.token).await;
        assert_eq!((answer.status, answer.header("x-stele-username")), (200, encoded));
        assert_eq!(app.verify_assertion(answer.header("x-stele-assertion"), "a.example")["username"], name);
    }
}

#[actix_web::test]
async fn a_session_is_seen_by_another_instance_at_once() {
    let app = ForwardAuthApp::start().await;
    let second = app.lab.second_instance().await;
    let login = app.log_in("portal").await;
    let service = second.start_service(svc_oauth::SERVICE).await;
    let head = Contract::Nginx.head("GET", "a.example", "/", &[("Authorization", login.token.expose())]);
    let ask = || stele_testkit::send_raw(service.address(), head.as_bytes());
    assert!(ask().await.starts_with("HTTP/1.1 200"));
    let user = app.lab.dependencies().users.find_by_ref(UserRef::Id(login.user.id)).await.unwrap().unwrap();
    assert_eq!(user.user.name.as_deref(), Some(USER));
    app.lab.use_cases().logout("portal", &login.token).await.unwrap();
    app.lab.clock().advance(Duration::from_secs(1));
    assert!(ask().await.starts_with("HTTP/1.1 401"));
}
