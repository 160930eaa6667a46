//! The user that an old server's answer is about: whether it is the expected one, and what the answer says of them.

use super::LegacyId;
use crate::identifier::{Email, Identifier, Phone, Username};
use crate::time::Timestamp;
use crate::user::{Profile, User};

/// What an old server's yes says about the user. Everything may be missing: MeFP's answer names no user at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldProfile {
    /// The user's ids. The first is the one that clients store (`user_id`, `id`, `userId`); further ones are other names
    /// of it (`user_alias_id`, `gid`).
    pub ids: Vec<String>,
    /// The user name.
    pub name: Option<String>,
    /// The phone number.
    pub phone: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// What the user registered with (portal `passport`).
    pub registered_with: Option<String>,
    /// When the user registered.
    pub registered_at: Option<Timestamp>,
    /// cloudbox `user_alias_id`: 32 hex digits.
    pub alias_id: Option<String>,
    /// Personal data.
    pub profile: Profile,
}

impl OldProfile {
    /// The identifiers that the answer names.
    pub fn identifiers(&self) -> impl Iterator<Item = Identifier> {
        [&self.name, &self.phone, &self.email, &self.registered_with]
            .into_iter()
            .filter_map(|text| Identifier::parse(text.as_deref()?))
    }

    /// The user name, if it is one.
    pub fn username(&self) -> Option<Username> {
        Username::parse(self.name.as_deref()?)
    }

    /// The phone number, if it is one.
    pub fn phone(&self) -> Option<Phone> {
        Phone::parse_provisioned(self.phone.as_deref()?)
    }

    /// The e-mail address, if it is one.
    pub fn email(&self) -> Option<Email> {
        Email::parse_provisioned(self.email.as_deref()?)
    }

    /// Fills the fields of `profile` that are empty, if the new values can be stored. Returns whether a field changed.
    pub fn fill_in(&self, profile: &mut Profile) -> bool {
        let before = profile.clone();
        let Profile { real_name, gender, nickname, avatar_url, enterprise, group, organization, department, .. } =
            &self.profile;
        for (own, old) in [
            (&mut profile.real_name, real_name),
            (&mut profile.nickname, nickname),
            (&mut profile.avatar_url, avatar_url),
            (&mut profile.enterprise, enterprise),
            (&mut profile.group, group),
            (&mut profile.organization, organization),
            (&mut profile.department, department),
            (&mut profile.description, &self.profile.description),
            (&mut profile.org_id, &self.profile.org_id),
            (&mut profile.memo, &self.profile.memo),
        ] {
            if own.is_empty() && old.len() <= MAX_TEXT_LENGTH && !old.contains('\0') {
                own.clone_from(old);
            }
        }
        profile.gender = profile.gender.or(*gender);
        if profile.field_with_invisible_character().is_some() {
            *profile = before;
            return false;
        }
        *profile != before
    }
}

/// The longest text of a profile that is taken over, in bytes.
const MAX_TEXT_LENGTH: usize = 4_096;

/// The user that a question was about.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedUser<'a> {
    /// The name that was sent.
    pub login_name: &'a str,
    /// The user, if there is one here.
    pub user: Option<&'a User>,
    /// The user's ids at the server that was asked.
    pub legacy_ids: &'a [LegacyId],
}

/// How an answer differs from the expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityMismatch {
    /// The answer has another id than the user's.
    Id,
    /// The answer has identifiers, and none is one that the user has or that was sent.
    Name,
}

impl ExpectedUser<'_> {
    /// Checks that `answer` is about this user.
    ///
    /// # Errors
    /// [`IdentityMismatch`]: the answer must not log anybody in.
    pub fn check(&self, answer: &OldProfile) -> Result<(), IdentityMismatch> {
        let keys = self.keys();
        // A source without ids has an identifier in place of the id, which is compared as a name.
        let mut ids = self.legacy_ids.iter().filter(|legacy| !keys.contains(&legacy.id)).peekable();
        let has_id = |legacy: &LegacyId| answer.ids.iter().any(|id| canonical_id(id) == canonical_id(&legacy.id));
        if !answer.ids.is_empty() && ids.peek().is_some() && !ids.any(has_id) {
            return Err(IdentityMismatch::Id);
        }
        let mut names = answer.identifiers().peekable();
        if names.peek().is_some() && !names.any(|name| keys.iter().any(|key| key == name.key())) {
            return Err(IdentityMismatch::Name);
        }
        Ok(())
    }

    /// The canonical keys of the name that was sent, and of the user's identifiers.
    fn keys(&self) -> Vec<String> {
        let own = self.user.map(|user| [&user.name, &user.phone, &user.email].map(|field| field.as_deref()));
        let texts = own.unwrap_or_default().into_iter().flatten().chain([self.login_name]);
        texts.filter_map(Identifier::parse).map(|identifier| identifier.key().to_owned()).collect()
    }
}

/// An id without letter case; a UUID without hyphens.
fn canonical_id(id: &str) -> String {
    let id = id.trim().to_lowercase();
    let digits = id.replace('-', "");
    let is_uuid = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if is_uuid { digits } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::old_server::OldApi;
    use crate::user::{Gender, UserId};

    fn ids(ids: &[&str]) -> Vec<LegacyId> {
        ids.iter().map(|id| LegacyId { api: OldApi::Cloudbox, id: (*id).to_owned() }).collect()
    }

    fn answer(ids: &[&str], name: Option<&str>, phone: Option<&str>) -> OldProfile {
        OldProfile {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            name: name.map(str::to_owned),
            phone: phone.map(str::to_owned),
            ..OldProfile::default()
        }
    }

    #[test]
    fn an_answer_about_another_user_is_a_mismatch() {
        use IdentityMismatch::{Id, Name};
        let alice = User { name: Some("Alice".to_owned()), ..crate::user::tests::user(UserId::from_bytes([1; 16])) };
        let uuid = "0b922f14-d00b-11e7-aafd-525400bbac8e";
        for (legacy_ids, answer, expected) in [
            (&["4"][..], answer(&["4"], Some("alice"), None), Ok(())),
            (&["4"], answer(&["5"], Some("alice"), None), Err(Id)),
            (&["4"], answer(&["4"], Some("bob"), None), Err(Name)),
            (&["4"], answer(&["4"], Some("bob"), Some("+86 138-0000-0000")), Ok(())),
            // Of several ids of one server, any; an answer may have several as well.
            (&["3", "4"], answer(&["4"], None, None), Ok(())),
            (&["100001"], answer(&["1", "100001"], None, None), Ok(())),
            // Spellings of a UUID.
            (&[uuid], answer(&["0B922F14D00B11E7AAFD525400BBAC8E"], None, None), Ok(())),
            // MeFP names no user; a source without ids has the identifier in place of the id.
            (&["4"], answer(&[], None, None), Ok(())),
            (&["alice"], answer(&["4"], Some("ALICE"), None), Ok(())),
            (&[], answer(&["4"], Some("ALICE"), None), Ok(())),
            (&[], answer(&["4"], Some("bob"), None), Err(Name)),
        ] {
            let legacy_ids = ids(legacy_ids);
            let expected_user = ExpectedUser { login_name: "alice", user: Some(&alice), legacy_ids: &legacy_ids };
            assert_eq!(expected_user.check(&answer), expected, "{legacy_ids:?} {answer:?}");
        }
        let unknown = ExpectedUser { login_name: "13800138000", user: None, legacy_ids: &[] };
        assert_eq!(unknown.check(&answer(&["4"], Some("x"), Some("8613800138000"))), Ok(()));
        assert_eq!(unknown.check(&answer(&["4"], Some("x"), Some("13800138001"))), Err(Name));
    }

    #[test]
    fn only_empty_fields_are_filled() {
        let old = OldProfile {
            profile: Profile {
                real_name: "Old".to_owned(),
                nickname: "old".to_owned(),
                memo: "x".repeat(MAX_TEXT_LENGTH + 1),
                description: "a\0b".to_owned(),
                gender: Some(Gender::Male),
                ..Profile::default()
            },
            ..OldProfile::default()
        };
        let mut profile = Profile { real_name: "New".to_owned(), ..Profile::default() };
        assert!(old.fill_in(&mut profile));
        let expected = Profile {
            real_name: "New".to_owned(),
            nickname: "old".to_owned(),
            gender: Some(Gender::Male),
            ..Profile::default()
        };
        assert_eq!(profile, expected);
        assert!(!old.fill_in(&mut profile), "the second time nothing is empty");
        let hidden = OldProfile {
            profile: Profile { group: "a\u{202e}b".to_owned(), ..Profile::default() },
            ..OldProfile::default()
        };
        assert!(!hidden.fill_in(&mut profile) && profile == expected);
    }
}
