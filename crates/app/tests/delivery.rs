//! Requests for codes on a channel for which `STELE_DELIVERY` names no provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::{App, HttpResponse, HttpServer, web};
use stele_app::Environment;
use stele_core::Error;
use stele_core::code::CodePurpose;
use stele_core::identifier::{Email, Recipient, Username};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::random::OsRandom;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::add_user::{AddUserRequest, ProvidedSecret};
use stele_core::usecase::send_code::RecipientFilter;
use stele_core::user::{Profile, Role};
use stele_service::Settings;

/// Starts an SMS gateway; returns its URL and the number of messages sent to it.
#[cfg(test)]
fn start_sms_gateway() -> (String, Arc<AtomicUsize>) {
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
async fn a_missing_delivery_channel_reveals_no_account_and_uses_no_quota() {
    let (url, sent) = start_sms_gateway();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default().with_values([
        ("STELE_DELIVERY", url),
        ("STELE_WEBHOOK_SECRET", "a secret of the gateway's".to_owned()),
        ("STELE_DATA", folder.path().to_str().unwrap().to_owned()),
        ("STELE_HASH_COST", "64,1,1,weak".to_owned()),
        ("STELE_SEND_ADDRESS", "1".to_owned()),
    ]);
    stele_app::provision(&settings, &[], &OsRandom).await.unwrap();
    let use_cases = stele_app::open(settings, Environment::default()).await.unwrap().use_cases;
    let password = NewPassword::from_administrator(&RawPassword::new("a-password".to_owned())).unwrap();
    let add_mark = AddUserRequest {
        name: Username::parse("mark").unwrap(),
        phone: None,
        email: Some(Email::parse("mark@example.com").unwrap()),
        role: Role::User,
        profile: Profile::default(),
        secret: ProvidedSecret::Password(password),
    };
    use_cases.add_user(add_mark).await.unwrap();

    let request = RequestInfo::from_client("jwt", "192.0.2.1".parse().unwrap());
    // Without a provider for mail, existing and unknown accounts get the same response (user enumeration).
    let recipient = |text: &str| Recipient::parse(text).unwrap();
    for address in ["mark@example.com", "unknown@example.com"] {
        for account in ["mark", "unknown"] {
            let outcome = use_cases.send_reset(&request, account, &recipient(address)).await;
            assert!(matches!(outcome, Err(Error::Unavailable(_))), "{account} {address}: {outcome:?}");
        }
        let outcome =
            use_cases.send_code(&request, &recipient(address), CodePurpose::Any, RecipientFilter::Unregistered).await;
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{address}: {outcome:?}");
    }
    // None of these requests used the quota.
    use_cases.send_code(&request, &recipient("13800138042"), CodePurpose::Any, RecipientFilter::Anyone).await.unwrap();
    use_cases.drain_deliveries().await;
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    let over_quota =
        use_cases.send_code(&request, &recipient("13800138042"), CodePurpose::Any, RecipientFilter::Anyone).await;
    assert!(matches!(over_quota, Err(Error::RateLimited { .. })), "{over_quota:?}");
}
