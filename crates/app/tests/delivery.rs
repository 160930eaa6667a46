//! What a send is answered when `STELE_DELIVERY` names no provider for a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::{App, HttpResponse, HttpServer, web};
use stele_app::Surroundings;
use stele_core::Error;
use stele_core::code::Purpose;
use stele_core::identifier::{Email, Name, Recipient};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::random::OsRandom;
use stele_core::usecase::Caller;
use stele_core::usecase::add_user::{AddUser, Provided};
use stele_core::usecase::send_code::Sendable;
use stele_core::user::{Profile, Role};
use stele_service::Settings;

/// A gateway for short messages: its URL, and how many it was sent.
#[cfg(test)]
fn gateway() -> (String, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let receive = move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(HttpResponse::Ok().finish())
    };
    let server = HttpServer::new(move || App::new().default_service(web::to(receive.clone())))
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
    let url = format!("webhook+http://{}/", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    (url, sent)
}

#[actix_web::test]
async fn a_channel_that_is_missing_tells_nothing_and_costs_nothing() {
    let (url, sent) = gateway();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default().with([
        ("STELE_DELIVERY", url),
        ("STELE_WEBHOOK_SECRET", "a secret of the gateway's".to_owned()),
        ("STELE_DATA", folder.path().to_str().unwrap().to_owned()),
        ("STELE_HASH_COST", "64,1,1,weak".to_owned()),
        ("STELE_SEND_ADDRESS", "1".to_owned()),
    ]);
    stele_app::provision(&settings, &[], &OsRandom).await.unwrap();
    let use_cases = stele_app::open(settings, Surroundings::default()).await.unwrap().use_cases;
    let password = NewPassword::provisioned(&RawPassword::new("123456".to_owned())).unwrap();
    let mark = AddUser {
        name: Name::parse("mark").unwrap(),
        phone: None,
        email: Some(Email::parse("mark@example.com").unwrap()),
        role: Role::User,
        profile: Profile::default(),
        secret: Provided::Password(password),
    };
    use_cases.add_user(mark).await.unwrap();

    let caller = Caller::direct("jwt", "192.0.2.1".parse().unwrap());
    // There is no provider for mail: a user who has an account gets the same answer as one who has none.
    let to = |text: &str| Recipient::parse(text).unwrap();
    for address in ["mark@example.com", "nobody@example.com"] {
        for account in ["mark", "nobody"] {
            let outcome = use_cases.send_reset(&caller, account, &to(address)).await;
            assert!(matches!(outcome, Err(Error::Unavailable(_))), "{account} {address}: {outcome:?}");
        }
        let outcome = use_cases.send_code(&caller, &to(address), Purpose::Any, Sendable::Strangers).await;
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{address}: {outcome:?}");
    }
    // Nothing of that was counted.
    use_cases.send_code(&caller, &to("13800138042"), Purpose::Any, Sendable::Anyone).await.unwrap();
    use_cases.drain_deliveries().await;
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    let over = use_cases.send_code(&caller, &to("13800138042"), Purpose::Any, Sendable::Anyone).await;
    assert!(matches!(over, Err(Error::TooMany { .. })), "{over:?}");
}
