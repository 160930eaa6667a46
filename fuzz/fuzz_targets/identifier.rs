//! Identifiers, user ids, recipients: what is taken is one canonical thing, whatever its spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_core::identifier::{Email, Identifier, Name, Phone, Recipient};
use stele_core::user::UserRef;

fuzz_target!(|text: &str| {
    if let Some(one) = Identifier::parse(text) {
        let again = Identifier::parse(one.key()).expect("a key is an identifier");
        assert_eq!(again.key(), one.key(), "the key is a fixed point");
    }
    if let Some(name) = Name::parse(text) {
        // No name looks like an e-mail address. One may look like a phone: names and phones share one namespace.
        assert!(Email::parse(name.text()).is_none());
        assert_eq!(Identifier::parse(name.text()).map(|i| i.key().to_owned()).as_deref(), Some(name.key()));
    }
    for key in [Phone::parse(text).map(|p| p.key().to_owned()), Email::parse(text).map(|e| e.key().to_owned())] {
        if let Some(key) = key {
            assert_eq!(Identifier::parse(text).map(|i| i.key().to_owned()), Some(key));
        }
    }
    if let Some(to) = Recipient::parse(text) {
        assert!(!to.key().is_empty());
    }
    let _ = UserRef::parse(text);
});
