//! Closures of a dialect by the operator, and the use of a dialect that is the evidence for them.

use std::time::Duration;

use stele_app::stores;
use stele_core::Error;
use stele_core::dialect_closure::{ClosureKind, NewClosure};
use stele_core::dialect_use::UtcDay;
use stele_core::proof::ProofKind;

use super::{DialectUnderTest, PASSWORD, PHONE, WRONG_PASSWORD};
use crate::test_app::response_parts;
use crate::{TestApp, TestResponse};

/// Schedules a closure as `stele sunset` does, and lets the service read it. Returns its id.
async fn close(app: &TestApp, kind: ClosureKind, client: Option<&str>, (starts_in, length): (u64, Option<u64>)) -> i64 {
    let (context, now) = (app.lab.context(), app.lab.clock().now());
    let starts_at = now.saturating_add(Duration::from_secs(starts_in));
    let closure = NewClosure {
        kind,
        dialect: app.service.service().name.to_owned(),
        client: client.map(str::to_owned),
        starts_at,
        ends_at: length.map(|length| starts_at.saturating_add(Duration::from_secs(length))),
        created_at: now,
        operator: "uid:0@host".to_owned(),
    };
    let store = stores::open_database(&context.settings).unwrap().closures();
    let id = store.add_closure(&closure, 10).await.unwrap().unwrap();
    context.closures.refresh().await.unwrap();
    id
}

async fn reopen(app: &TestApp, id: i64) {
    let store = stores::open_database(&app.lab.context().settings).unwrap().closures();
    assert!(store.cancel_closure(id, app.lab.clock().now()).await.unwrap().is_some());
    app.lab.context().closures.refresh().await.unwrap();
}

/// Asserts that a response is the dialect's own text for an unavailable store.
#[track_caller]
fn assert_closed(app: &TestApp, response: &TestResponse, retry_after: u64) {
    let (status, _, text) = response_parts((app.service.service().render_error)(&Error::unavailable("")));
    response.assert_is(status, &text);
    assert_eq!((status, response.retry_after()), (503, Some(retry_after)), "{response:?}");
}

pub async fn a_brownout_is_answered_as_an_unavailable_store_until_it_ends<D: DialectUnderTest>() {
    let app = D::new().await;
    app.add_test_user().await;
    close(&app, ClosureKind::Brownout, None, (60, Some(120))).await;
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
    app.advance_clock(60);
    // More failures than the rate limit allows, if they were counted.
    for _ in 0..8 {
        assert_closed(&app, &app.login(0, PHONE, WRONG_PASSWORD).await, 120);
    }
    assert_closed(&app, &app.send(app.request("POST", "/nothing")).await, 120);
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(app.request("GET", path).send().await.unwrap().status().as_u16(), 200, "{path}");
    }
    app.advance_clock(119);
    assert_closed(&app, &app.login(0, PHONE, PASSWORD).await, 1);
    app.advance_clock(1);
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
    let metrics = app.lab.context().metrics.render().unwrap();
    let labels = format!("dialect=\"{}\",closure=\"brownout\"", D::SERVICE.name);
    assert!(metrics.contains(&format!("stele_closed_requests_total{{{labels}}} 10\n")), "{metrics}");
}

pub async fn a_brownout_of_a_client_refuses_only_that_client<D: DialectUnderTest>() {
    let app = D::with_settings(&[("STELE_CLIENTS", "kiosk=*KioskShell/*")]).await;
    let call_as =
        async |user_agent: &str| app.send(app.request("POST", "/nothing").header("user-agent", user_agent)).await;
    let id = close(&app, ClosureKind::Brownout, Some("kiosk"), (0, Some(600))).await;
    assert_closed(&app, &call_as("Mozilla/5.0 kioskshell/2").await, 600);
    assert_eq!(call_as("okhttp/3.9").await.status, 404);
    reopen(&app, id).await;
    assert_eq!(call_as("KioskShell/2").await.status, 404);
    close(&app, ClosureKind::Brownout, Some("other"), (0, Some(600))).await;
    assert_closed(&app, &call_as("okhttp/3.9").await, 600);
    assert_eq!(call_as("KioskShell/2").await.status, 404);
}

pub async fn a_dialect_that_is_off_stays_off_after_a_restart_until_it_is_on_again<D: DialectUnderTest>() {
    let app = D::new().await;
    app.add_test_user().await;
    let id = close(&app, ClosureKind::Off, None, (0, None)).await;
    assert_closed(&app, &app.login(0, PHONE, PASSWORD).await, 3_600);
    let TestApp { lab, service, .. } = app.into();
    service.stop().await;
    let app = TestApp::start(lab.restart().await, D::SERVICE).await;
    assert_closed(&app, &app.send(app.request("POST", D::LOGIN_PATH)).await, 3_600);
    app.advance_clock(86_400 * 400);
    assert_closed(&app, &app.send(app.request("POST", D::LOGIN_PATH)).await, 3_600);
    reopen(&app, id).await;
    assert_ne!(app.send(app.request("POST", D::LOGIN_PATH)).await.status, 503);
}

pub async fn a_login_counts_as_use_of_the_dialect<D: DialectUnderTest>() {
    let app = D::new().await;
    let user = app.add_test_user().await;
    for _ in 0..2 {
        app.advance_clock(1);
        app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
    }
    app.login(0, PHONE, WRONG_PASSWORD).await;
    let context = app.lab.context();
    context.audit_log.flush().await.unwrap();
    let store = stores::open_database(&context.settings).unwrap().dialect_use();
    let now = app.lab.clock().now();
    let daily = store.daily_use(UtcDay::of(now)).await.unwrap();
    assert_eq!((daily.len(), daily[0].logins, daily[0].users), (1, 2, 1), "{daily:?}");
    let kind = &daily[0].kind;
    // What a client of TMS sent is only known after its verification.
    let proofs = [ProofKind::Raw, ProofKind::Digest, ProofKind::Salted].map(ProofKind::as_str);
    assert!(kind.dialect == D::SERVICE.name && proofs.contains(&&*kind.proof), "{kind:?}");
    let users = store.list_users(D::SERVICE.name, UtcDay::of(now).start(), None, 10).await.unwrap();
    assert_eq!((users.len(), users[0].user, users[0].identifier.as_deref()), (1, user.id, Some("Mark")), "{users:?}");
    assert_eq!(&users[0].kind, kind);
}
