//! Identifiers, user ids and recipients: all spellings of one identifier have the same canonical form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_core::identifier::{Email, Identifier, MAX_IDENTIFIER_LENGTH, Phone, Recipient, Username};
use stele_core::user::{ClientUserId, UserId, UserRef};

fn canonical_key(text: &str) -> Option<String> {
    Identifier::parse(text).map(|identifier| identifier.key().to_owned())
}

fuzz_target!(|text: &str| {
    if let Some(key) = canonical_key(text) {
        assert_eq!(canonical_key(&key).as_ref(), Some(&key), "normalizing the key again does not change it");
        assert_eq!(canonical_key(&format!(" {text}\t")).as_ref(), Some(&key), "white space around it does not matter");
        assert!(!key.is_empty() && key.len() <= MAX_IDENTIFIER_LENGTH && !key.chars().any(char::is_control));
        if text.is_ascii() {
            assert_eq!(canonical_key(&text.to_ascii_uppercase()), Some(key), "letter case does not matter");
        }
    }
    if let Some(name) = Username::parse(text) {
        // A username is never an e-mail address. It may be a phone number: both share one namespace.
        assert!(Email::parse(name.text()).is_none());
        assert_eq!(canonical_key(name.text()).as_deref(), Some(name.key()));
    }
    // A login finds a user by the key of the phone number, e-mail address or recipient.
    let phone = Phone::parse(text).map(|phone| phone.key().to_owned());
    let email = Email::parse(text).map(|email| email.key().to_owned());
    assert!(phone.is_none() || email.is_none());
    let recipient = Recipient::parse(text).map(|to| to.key().to_owned());
    for key in [&phone, &email, &recipient].into_iter().flatten() {
        assert_eq!(canonical_key(text).as_ref(), Some(key));
    }
    assert_eq!(recipient, phone.or(email), "a recipient is a phone number or an e-mail address");
    if let Some(id) = ClientUserId::parse(text) {
        assert_eq!(ClientUserId::parse(id.legacy_key()), Some(id.clone()));
        assert_eq!((id.id(), id.number()), (UserId::parse(text), None));
    }
    match UserRef::parse(text) {
        Some(UserRef::Id(id)) => {
            assert_eq!(UserRef::parse(&id.to_string()), Some(UserRef::Id(id)));
            assert_eq!(UserId::parse(text), Some(id));
        }
        Some(UserRef::Number(number)) => {
            assert_eq!(UserRef::parse(&number.to_string()), Some(UserRef::Number(number)));
            assert!(number >= 0);
            assert_eq!(UserId::parse(text), None);
        }
        None => {}
    }
});
