//! Identifiers, user ids, recipients: what is taken is one canonical thing, whatever its spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_core::identifier::{Email, Identifier, MAX_IDENTIFIER_LENGTH, Phone, Recipient, Username};
use stele_core::user::{UserId, UserRef};

fn canonical_key(text: &str) -> Option<String> {
    Identifier::parse(text).map(|identifier| identifier.key().to_owned())
}

fuzz_target!(|text: &str| {
    if let Some(one) = canonical_key(text) {
        assert_eq!(canonical_key(&one).as_ref(), Some(&one), "the key is a fixed point");
        assert_eq!(canonical_key(&format!(" {text}\t")).as_ref(), Some(&one), "white space around it does not matter");
        assert!(!one.is_empty() && one.len() <= MAX_IDENTIFIER_LENGTH && !one.chars().any(char::is_control));
        if text.is_ascii() {
            assert_eq!(canonical_key(&text.to_ascii_uppercase()), Some(one), "nor does letter case");
        }
    }
    if let Some(name) = Username::parse(text) {
        // No name looks like an e-mail address. One may look like a phone: names and phones share one namespace.
        assert!(Email::parse(name.text()).is_none());
        assert_eq!(canonical_key(name.text()).as_deref(), Some(name.key()));
    }
    // A thing of each kind is found by what login fields hold.
    let phone = Phone::parse(text).map(|phone| phone.key().to_owned());
    let email = Email::parse(text).map(|email| email.key().to_owned());
    assert!(phone.is_none() || email.is_none());
    let recipient = Recipient::parse(text).map(|to| to.key().to_owned());
    for found in [&phone, &email, &recipient].into_iter().flatten() {
        assert_eq!(canonical_key(text).as_ref(), Some(found));
    }
    assert_eq!(recipient, phone.or(email), "a recipient is one of the two");
    let untrusted = UserId::parse_untrusted(text);
    match UserRef::parse(text) {
        Some(UserRef::Id(id)) => {
            assert_eq!(UserRef::parse(&id.to_string()), Some(UserRef::Id(id)));
            assert_eq!((UserId::parse(text), untrusted), (Some(id), Some(id)));
        }
        Some(UserRef::Number(number)) => {
            assert_eq!(UserRef::parse(&number.to_string()), Some(UserRef::Number(number)));
            assert!(number >= 0);
            let no_user = untrusted.expect("a number is read");
            assert_eq!((UserId::parse(text), no_user.as_bytes()[..8].iter().max()), (None, Some(&0)));
        }
        None => assert_eq!(untrusted, None),
    }
});
