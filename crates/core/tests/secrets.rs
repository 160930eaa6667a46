//! No secret is printed by the types that hold it, and each is wiped when it is dropped.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};

use stele_core::app::App;
use stele_core::code::{Code, Purpose};
use stele_core::hex;
use stele_core::identifier::{Name, Phone, Recipient};
use stele_core::mac::MacKey;
use stele_core::password::{NewPassword, PasswordDigest, RawPassword};
use stele_core::ports::{Message, SealedUser};
use stele_core::proof::{Proof, Salted};
use stele_core::random::OsRandom;
use stele_core::seal::{Sealed, Sealer};
use stele_core::session::Token;
use stele_core::time::Timestamp;
use stele_core::usecase::Caller;
use stele_core::usecase::add_user::{AddUser, Provided};
use stele_core::usecase::captcha::Solution;
use stele_core::usecase::change_password::ChangePassword;
use stele_core::usecase::login::{Audience, Carrier, Challenge, Login};
use stele_core::usecase::register::Register;
use stele_core::usecase::reset_password::ResetPassword;
use stele_core::usecase::set_password::Authority;
use stele_core::user::{Account, Credential, Gender, NewUser, Profile, Role, User, UserId, UserRef};
use stele_core::verifier::{self, Cost, Secret};
use zeroize::{ZeroizeOnDrop, Zeroizing};

const PASSWORD: &str = "correct-horse";
const CODE: &str = "629457";
const TOKEN: &str = "8d7e1c5ab2f94036a1b2c3d4e5f60718";
const AT: Timestamp = Timestamp::from_secs(1_767_254_400);

/// What must not be told of: each text as it is, and bytes in any form that a formatter gives them.
fn secrets() -> Vec<String> {
    let digest = md5(PASSWORD.as_bytes());
    let salted = digest_of(PASSWORD).salted(1_767_254_400);
    let mut all: Vec<String> = [PASSWORD, CODE, TOKEN].map(str::to_owned).to_vec();
    for bytes in [&digest, &salted, &[0xab; 16], &[0xcd; 16]] {
        // The beginning will do: of a text in hex, and of a list of numbers.
        all.push(hex::encode(&bytes[..4]));
        all.push(hex::encode(&bytes[..4]).to_uppercase());
        all.push(format!("{}, {}, {}", bytes[0], bytes[1], bytes[2]));
    }
    all
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    use md5::Digest as _;
    md5::Md5::digest(bytes).into()
}

fn digest_of(password: &str) -> PasswordDigest {
    RawPassword::new(password.to_owned()).digest()
}

#[track_caller]
fn hides(what: &str, value: &dyn Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}").replace(",\n", ", ").replace("  ", "")] {
        for secret in secrets() {
            assert!(!text.contains(&secret), "{what} tells {secret}: {text}");
        }
        assert!(!text.contains("argon2") && !text.contains("md5ps"), "{what} tells a hash: {text}");
    }
}

fn salted() -> Salted {
    Salted { digest: digest_of(PASSWORD).salted(1_767_254_400), timestamp: 1_767_254_400 }
}

fn raw() -> RawPassword {
    RawPassword::new(PASSWORD.to_owned())
}

fn new_password() -> NewPassword {
    NewPassword::provisioned(&raw()).unwrap()
}

fn token() -> Token {
    Token::parse(TOKEN).unwrap()
}

fn sealed() -> Sealed {
    Sealed { key_id: 1, bytes: vec![0xcd; 16] }
}

fn credential() -> Credential {
    let cheap = Cost { memory: 64, passes: 1, lanes: 1 };
    Credential {
        verifier: verifier::hash(&digest_of(PASSWORD), &[1; 16], cheap, &mut verifier::Memory::default()).unwrap(),
        sealed: Some(sealed()),
    }
}

fn user() -> User {
    User {
        id: UserId::from_bytes([1; 16]),
        number: 100_001,
        name: Some("mark".to_owned()),
        phone: None,
        email: None,
        registered_with: None,
        registered_through: String::new(),
        registered_at: AT,
        alias_id: "0".repeat(32),
        role: Role::User,
        disabled: false,
        profile: Profile { gender: Some(Gender::Male), ..Profile::default() },
    }
}

#[test]
fn what_holds_a_password_prints_none() {
    hides("a password", &raw());
    hides("a digest", &digest_of(PASSWORD));
    hides("a new password", &new_password());
    for secret in [Secret::Raw(raw()), Secret::Digest(digest_of(PASSWORD))] {
        hides("a secret", &secret);
    }
    hides("a salted proof", &salted());
    let proofs =
        || [Proof::Raw(raw()), Proof::Digest(digest_of(PASSWORD)), Proof::Salted(salted()), Proof::Either(salted())];
    let caller = &Caller::direct("cloudbox", IpAddr::V4(Ipv4Addr::LOCALHOST));
    for (proof, again) in proofs().into_iter().zip(proofs()) {
        hides("a proof", &proof);
        let (audience, carrier) = (Audience::Everyone, Carrier::Token);
        let challenge = Challenge::Code(Some(Code::typed(CODE)));
        hides("a login", &Login { identifier: "mark", proof, caller, audience, challenge, carrier });
        let (user, token) = (UserRef::Number(100_001), token());
        let change = ChangePassword { user, proof: again, password: new_password(), caller, token: Some(&token) };
        hides("a change of password", &change);
    }
    let to = Recipient::Phone(Phone::parse("13800138000").unwrap());
    let (code, password, purpose) = (&Code::typed(CODE), &new_password(), Purpose::Any);
    hides("a registration", &Register { to: &to, purpose, code, password, caller });
    hides("a reset", &ResetPassword { to: &to, purpose, code, password, caller });
    for secret in [Provided::Password(new_password()), Provided::Foreign("{raw}$md5ps$00$abababab".to_owned())] {
        let name = Name::parse("mark").unwrap();
        let (phone, email, role, profile) = (None, None, Role::User, Profile::default());
        hides("a user to add", &AddUser { name, phone, email, role, profile, secret });
    }
}

#[test]
fn what_holds_a_stored_secret_prints_none() {
    hides("something sealed", &sealed());
    hides("a credential", &credential());
    hides("an account", &Account { user: user(), credential: credential(), epoch: 0, salted_at: None });
    let new = NewUser {
        id: UserId::from_bytes([1; 16]),
        name: Name::parse("mark"),
        phone: None,
        email: None,
        registered_with: None,
        registered_through: String::new(),
        registered_at: AT,
        alias_id: "0".repeat(32),
        role: Role::User,
        profile: Profile::default(),
        credential: credential(),
    };
    hides("a user to be stored", &new);
    hides("a sealed row", &SealedUser { number: 100_001, id: UserId::from_bytes([1; 16]), sealed: sealed() });
    let app = App { name: "melink".to_owned(), secret: sealed(), may_token: Vec::new(), created_at: AT };
    hides("an app", &app);
}

#[test]
fn keys_tokens_and_codes_are_not_printed() {
    hides("a token", &token());
    for authority in [Authority::Reset(token()), Authority::Login(token())] {
        hides("an authority", &authority);
    }
    hides("a code", &Code::typed(CODE));
    hides("a captcha", &Solution { id: 7, text: CODE.to_owned() });
    let to = Recipient::Phone(Phone::parse("13800138000").unwrap());
    let message = Message { at: AT, to, purpose: Purpose::Any, dialect: "portal", code: Code::typed(CODE) };
    hides("a message", &message);
    hides("a key of keyed hashes", &MacKey::new(Zeroizing::new([0xab; 32])));
    hides("a sealer", &Sealer::new([(1, Zeroizing::new([0xab; 32]))]).unwrap());
    let generated = Token::generate(&OsRandom);
    assert!(!format!("{generated:?}").contains(generated.expose()));
}

#[test]
#[should_panic(expected = "a leak tells")]
fn a_secret_that_is_printed_is_found() {
    hides("a leak", &digest_of(PASSWORD).salted(1_767_254_400));
}

/// That a type is wiped when it is dropped is a promise of its trait: without it this does not compile.
fn wiped<T: ZeroizeOnDrop>() {}

#[test]
fn secrets_are_wiped_when_they_are_dropped() {
    wiped::<RawPassword>();
    wiped::<PasswordDigest>();
    wiped::<Token>();
    wiped::<Code>();
    wiped::<MacKey>();
    wiped::<Zeroizing<[u8; 32]>>();
    // What a sealing key becomes; what the key of keyed hashes is hashed by, and a password.
    wiped::<aes_gcm::Aes256Gcm>();
    wiped::<sha2::Sha256>();
    wiped::<md5::Md5>();
}
