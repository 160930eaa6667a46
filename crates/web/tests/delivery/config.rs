//! What `STELE_DELIVERY` may say, and what a send is told when a channel is missing.

use stele_core::Error;
use stele_core::code::Purpose;
use stele_core::identifier::{Email, Name, Recipient};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::random::OsRandom;
use stele_core::usecase::Caller;
use stele_core::usecase::add_user::{AddUser, Provided};
use stele_core::usecase::send_code::Sendable;
use stele_core::user::{Profile, Role};
use stele_web::boot;
use stele_web::delivery::Plan;

use crate::gateway::{Act, Gateway};
use crate::{PHONE, settings, soon, surroundings};

#[test]
fn slips_are_named_without_the_password() {
    for (bad, why) in [
        ("mailto:hunter2", "known are"),
        ("hunter2", "by commas"),
        ("https://hunter2@example.com", "known are"),
        ("outbox,smtp://a:hunter2@b?from=c@d.e", "by commas"),
        ("smtp://user:hunter2@example.com", "needs a sender"),
        ("smtp://user:hunter2@example.com?from=nobody", "not a sender"),
        ("smtp://user@example.com?from=a@b.c", "a user and a password"),
        ("smtp://user:hunter2@example.com?from=a@b.c&tls=maybe", "tls=maybe"),
        ("smtps://user:hunter2@example.com?from=a@b.c&tls=none", "always encrypted"),
        ("smtp://user:hunter2@example.com?from=a@b.c&ssl=1", "`ssl`"),
        ("smtp://u:hunter2@a.b?from=a@b.c,smtps://u:hunter2@c.d?from=a@b.c", "more than one"),
    ] {
        let error = Plan::read(&settings(bad), &surroundings()).err().unwrap().to_string();
        assert!(error.starts_with("STELE_DELIVERY: ") && error.contains(why), "{bad}: {error}");
        assert!(!error.contains("hunter2"), "{bad}: {error}");
    }
    let short = settings("webhook+https://example.com/").with([("STELE_WEBHOOK_SECRET", "hunter2".to_owned())]);
    let error = Plan::read(&short, &surroundings()).err().unwrap().to_string();
    assert!(error.starts_with("STELE_WEBHOOK_SECRET: ") && !error.contains("hunter2"), "{error}");
    let template = settings("webhook+https://example.com/").with([("STELE_WEBHOOK_TEMPLATE", "{".to_owned())]);
    let error = Plan::read(&template, &surroundings()).err().unwrap().to_string();
    assert!(error.starts_with("STELE_WEBHOOK_TEMPLATE: "), "{error}");
}

#[test]
fn what_may_be_said() {
    for good in [
        "outbox",
        "smtps://user:p%40ss@mail.example.com?from=Stele%20%3Ccodes@example.com%3E",
        "smtp://[::1]:2525?from=codes@example.com&tls=required",
        "webhook+https://user:pass@sms.example.com/v1/send?key=1 , smtp://relay?from=a@b.c&tls=none",
    ] {
        let plan = Plan::read(&settings(good), &surroundings()).unwrap();
        assert_eq!(plan.is_outbox(), good == "outbox");
    }
}

#[actix_web::test]
async fn a_channel_that_is_missing_tells_nothing_and_costs_nothing() {
    let mut gateway = Gateway::start(&[], Act::Answer(200));
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&gateway.url).with([
        ("STELE_DATA", folder.path().to_str().unwrap().to_owned()),
        ("STELE_HASH_COST", "64,1,1,weak".to_owned()),
        ("STELE_SEND_ADDRESS", "1".to_owned()),
    ]);
    boot::provision(&settings, &[], &OsRandom).await.unwrap();
    let use_cases = boot::open(settings, surroundings()).await.unwrap().use_cases;
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
    // There is no provider for mail: whoever has an account is told the same as whoever has none.
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
    use_cases.send_code(&caller, &to(PHONE), Purpose::Any, Sendable::Anyone).await.unwrap();
    gateway.next().await;
    let over = use_cases.send_code(&caller, &to(PHONE), Purpose::Any, Sendable::Anyone).await;
    assert!(matches!(over, Err(Error::TooMany { .. })), "{over:?}");
    soon(use_cases.drain_deliveries()).await;
}
