//! No secret is printed by the types that hold it, and each is wiped when it is dropped.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Debug;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt as _;

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
use stele_core::usecase::change_password::{ChangePassword, Whose};
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
    Salted { digest: digest_of(PASSWORD).salted(1_767_254_400), timestamp: 1_767_254_400.into() }
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
        let change = ChangePassword {
            whose: Whose::Authenticated(user, &token),
            proof: again,
            password: new_password(),
            caller,
        };
        hides("a change of password", &change);
    }
    let to = Recipient::Phone(Phone::parse("13800138000").unwrap());
    let (code, password, purpose) = (&Code::typed(CODE), &new_password(), Purpose::Any);
    hides("a registration", &Register { to: &to, purpose, code, password, caller });
    hides("a reset", &ResetPassword { to: &to, purpose, code, password, caller });
    let imported = verifier::import("$md5ps$00$abababababababababababababababab").unwrap();
    hides("an imported hash", &imported);
    for secret in [Provided::Password(new_password()), Provided::Foreign(imported)] {
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

/// A value in a place that stays allocated after the value is dropped, so that what lies there then can be read.
struct Place<T> {
    /// Dropped by `clear`, which leaves its bytes alone.
    value: Vec<T>,
    memory: File,
}

impl<T> Place<T> {
    fn of(value: T) -> Self {
        let mut place = Self { value: Vec::with_capacity(1), memory: File::open("/proc/self/mem").unwrap() };
        place.value.push(value);
        place
    }

    fn address(&self) -> usize {
        self.value.as_ptr().addr()
    }

    /// The bytes of this process at an address, if any are mapped there. Allocates nothing.
    fn read(&self, address: usize, bytes: &mut [u8]) -> bool {
        self.memory.read_exact_at(bytes, address as u64).is_ok()
    }

    /// Where `secret` lies: in the value, or where one of its words points.
    fn find(&self, secret: &[u8]) -> (usize, bool) {
        let (mut own, mut there) = (vec![0; size_of::<T>()], vec![0; secret.len()]);
        assert!(self.read(self.address(), &mut own));
        if let Some(offset) = own.windows(secret.len()).position(|window| window == secret) {
            return (self.address() + offset, true);
        }
        let mut words = own.chunks_exact(size_of::<usize>()).map(|word| usize::from_ne_bytes(word.try_into().unwrap()));
        let pointer = words.find(|&word| self.read(word, &mut there) && there == secret);
        (pointer.unwrap_or_else(|| panic!("the secret is not in the value")), false)
    }
}

/// Whether nothing of `secret` is left in memory where `value` held it, after the value is dropped.
fn is_wiped<T>(value: T, secret: &[u8]) -> bool {
    let mut place = Place::of(value);
    let (address, inside) = place.find(secret);
    let mut left = vec![0; secret.len()];
    place.value.clear();
    assert!(place.read(address, &mut left));
    // The allocator writes two words of its own into what it got back.
    let own = if inside { 0 } else { 2 * size_of::<usize>() };
    left[own..].iter().zip(&secret[own..]).all(|(left, was)| left != was || *left == 0)
}

/// As [`is_wiped`], of a value that is secret as a whole, in whatever form: pointers and tables may stay, keys may not.
fn is_wholly_wiped<T>(value: T) -> bool {
    let mut place = Place::of(value);
    let (mut before, mut after) = (vec![0; size_of::<T>()], vec![0; size_of::<T>()]);
    assert!(place.read(place.address(), &mut before));
    place.value.clear();
    assert!(place.read(place.address(), &mut after));
    let was = before.iter().filter(|&&byte| byte != 0).count();
    let left = before.iter().zip(&after).filter(|(before, after)| **before != 0 && before == after).count();
    assert!(was >= 16, "there is something to wipe: {before:?}");
    left * 8 < was
}

/// That a type is wiped when it is dropped is a promise of its trait: without it this does not compile.
fn promised<T: ZeroizeOnDrop>(value: T) -> T {
    value
}

#[test]
fn secrets_are_wiped_when_they_are_dropped() {
    let text = "a password of sixty-four characters, more than any allocator uses";
    assert!(is_wiped(promised(RawPassword::new(text.to_owned())), text.as_bytes()));
    let typed = text.replace([' ', '-'], "");
    assert!(is_wiped(promised(Code::typed(text)), typed.as_bytes()));
    assert!(is_wiped(promised(token()), TOKEN.as_bytes()));
    assert!(is_wiped(promised(digest_of(PASSWORD)), &md5(PASSWORD.as_bytes())));
    // What is made of them holds them.
    assert!(is_wiped(new_password(), &md5(PASSWORD.as_bytes())));
    assert!(is_wiped(Secret::Digest(digest_of(PASSWORD)), &md5(PASSWORD.as_bytes())));
    assert!(is_wiped(Proof::Raw(RawPassword::new(text.to_owned())), text.as_bytes()));
    assert!(is_wiped(promised(MacKey::new(Zeroizing::new([0xab; 32]))), &[0xab; 32]));
    assert!(is_wiped(promised(Zeroizing::new([0xab_u8; 32])), &[0xab; 32]));
    // What a sealing key becomes; what the key of keyed hashes is hashed by, and a password.
    assert!(is_wholly_wiped(promised(<aes_gcm::Aes256Gcm as aes_gcm::KeyInit>::new(&[0xab; 32].into()))));
    assert!(is_wholly_wiped(promised(<sha2::Sha256 as md5::Digest>::new_with_prefix(text))));
    assert!(is_wholly_wiped(promised(<md5::Md5 as md5::Digest>::new_with_prefix(text))));
}

#[test]
fn secrets_that_are_not_wiped_are_found_in_memory() {
    let text = "what is dropped like this stays where it was until it is overwritten";
    assert!(!is_wiped(text.to_owned(), text.as_bytes()));
    assert!(!is_wiped([0xab_u8; 32], &[0xab; 32]));
    assert!(!is_wholly_wiped([0xab_u8; 32]));
}
