//! No secret is printed by the types that hold it, and each is wiped when it is dropped.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Debug;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt as _;

use stele_core::app::App;
use stele_core::code::{Code, CodePurpose};
use stele_core::hex;
use stele_core::identifier::{Phone, Recipient, Username};
use stele_core::mac::MacKey;
use stele_core::password::{NewPassword, PasswordDigest, RawPassword};
use stele_core::ports::{CodeMessage, SealedUser};
use stele_core::proof::{Proof, SaltedProof};
use stele_core::random::OsRandom;
use stele_core::seal::{SealedSecret, Sealer};
use stele_core::session::Token;
use stele_core::time::Timestamp;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::add_user::{AddUserRequest, ProvidedSecret};
use stele_core::usecase::captcha::CaptchaSolution;
use stele_core::usecase::change_password::{ChangePasswordRequest, PasswordChangeTarget};
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::usecase::register::RegisterRequest;
use stele_core::usecase::reset_password::ResetPasswordRequest;
use stele_core::usecase::set_password::SetPasswordAuthorization;
use stele_core::user::{Account, Credential, Gender, NewUser, Profile, Role, User, UserId, UserRef};
use stele_core::verifier::{self, Argon2Cost, PresentedSecret};
use zeroize::{ZeroizeOnDrop, Zeroizing};

const PASSWORD: &str = "correct-horse";
const CODE: &str = "629457";
const TOKEN: &str = "8d7e1c5ab2f94036a1b2c3d4e5f60718";
const AT: Timestamp = Timestamp::from_secs(1_767_254_400);

/// What must not be told of: each text as it is, and bytes in any form that a formatter gives them.
fn secret_texts() -> Vec<String> {
    let digest = md5(PASSWORD.as_bytes());
    let salted = password_digest(PASSWORD).salted_hash(1_767_254_400);
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

fn password_digest(password: &str) -> PasswordDigest {
    RawPassword::new(password.to_owned()).digest()
}

#[track_caller]
fn assert_redacted(what: &str, value: &dyn Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}").replace(",\n", ", ").replace("  ", "")] {
        for secret in secret_texts() {
            assert!(!text.contains(&secret), "{what} tells {secret}: {text}");
        }
        assert!(!text.contains("argon2") && !text.contains("md5ps"), "{what} tells a hash: {text}");
    }
}

fn salted() -> SaltedProof {
    SaltedProof { digest: password_digest(PASSWORD).salted_hash(1_767_254_400), timestamp: 1_767_254_400.into() }
}

fn raw() -> RawPassword {
    RawPassword::new(PASSWORD.to_owned())
}

fn new_password() -> NewPassword {
    NewPassword::from_administrator(&raw()).unwrap()
}

fn token() -> Token {
    Token::parse(TOKEN).unwrap()
}

fn sealed() -> SealedSecret {
    SealedSecret { key_id: 1, bytes: vec![0xcd; 16] }
}

fn credential() -> Credential {
    let cheap = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };
    Credential {
        verifier: verifier::hash(&password_digest(PASSWORD), &[1; 16], cheap, &mut verifier::HashMemory::default())
            .unwrap(),
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
fn debug_output_of_password_types_is_redacted() {
    assert_redacted("a password", &raw());
    assert_redacted("a digest", &password_digest(PASSWORD));
    assert_redacted("a new password", &new_password());
    for secret in [PresentedSecret::Raw(raw()), PresentedSecret::Digest(password_digest(PASSWORD))] {
        assert_redacted("a secret", &secret);
    }
    assert_redacted("a salted proof", &salted());
    let proofs = || {
        [
            Proof::Raw(raw()),
            Proof::Digest(password_digest(PASSWORD)),
            Proof::Salted(salted()),
            Proof::SaltedOrDigest(salted()),
        ]
    };
    let caller = &RequestInfo::from_client("cloudbox", IpAddr::V4(Ipv4Addr::LOCALHOST));
    for (proof, again) in proofs().into_iter().zip(proofs()) {
        assert_redacted("a proof", &proof);
        let (audience, carrier) = (AllowedUsers::Everyone, SessionTransport::Token);
        let challenge = Challenge::Code(Some(Code::from_user_input(CODE)));
        assert_redacted(
            "a login",
            &LoginRequest { identifier: "mark", proof, caller, allowed_users: audience, challenge, transport: carrier },
        );
        let (user, token) = (UserRef::Number(100_001), token());
        let change = ChangePasswordRequest {
            target: PasswordChangeTarget::Authenticated(user, &token),
            proof: again,
            password: new_password(),
            caller,
        };
        assert_redacted("a change of password", &change);
    }
    let to = Recipient::Phone(Phone::parse("13800138000").unwrap());
    let (code, password, purpose) = (&Code::from_user_input(CODE), &new_password(), CodePurpose::Any);
    assert_redacted("a registration", &RegisterRequest { to: &to, purpose, code, password, caller });
    assert_redacted("a reset", &ResetPasswordRequest { to: &to, purpose, code, password, caller });
    let imported = verifier::parse_imported("$md5ps$00$abababababababababababababababab").unwrap();
    assert_redacted("an imported hash", &imported);
    for secret in [ProvidedSecret::Password(new_password()), ProvidedSecret::Hash(imported)] {
        let name = Username::parse("mark").unwrap();
        let (phone, email, role, profile) = (None, None, Role::User, Profile::default());
        assert_redacted("a user to add", &AddUserRequest { name, phone, email, role, profile, secret });
    }
}

#[test]
fn debug_output_of_stored_secrets_is_redacted() {
    assert_redacted("something sealed", &sealed());
    assert_redacted("a credential", &credential());
    assert_redacted("an account", &Account { user: user(), credential: credential(), epoch: 0, salted_at: None });
    let new = NewUser {
        id: UserId::from_bytes([1; 16]),
        name: Username::parse("mark"),
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
    assert_redacted("a user to be stored", &new);
    assert_redacted("a sealed row", &SealedUser { number: 100_001, id: UserId::from_bytes([1; 16]), sealed: sealed() });
    let app = App { name: "melink".to_owned(), secret: sealed(), may_token: Vec::new(), created_at: AT };
    assert_redacted("an app", &app);
}

#[test]
fn debug_output_of_keys_tokens_and_codes_is_redacted() {
    assert_redacted("a token", &token());
    for authority in [SetPasswordAuthorization::ResetToken(token()), SetPasswordAuthorization::RecentLogin(token())] {
        assert_redacted("an authority", &authority);
    }
    assert_redacted("a code", &Code::from_user_input(CODE));
    assert_redacted("a captcha", &CaptchaSolution { id: 7, text: CODE.to_owned() });
    let to = Recipient::Phone(Phone::parse("13800138000").unwrap());
    let message =
        CodeMessage { at: AT, to, purpose: CodePurpose::Any, dialect: "portal", code: Code::from_user_input(CODE) };
    assert_redacted("a message", &message);
    assert_redacted("a key of keyed hashes", &MacKey::new(Zeroizing::new([0xab; 32])));
    assert_redacted("a sealer", &Sealer::new([(1, Zeroizing::new([0xab; 32]))]).unwrap());
    let generated = Token::generate(&OsRandom);
    assert!(!format!("{generated:?}").contains(generated.expose()));
}

#[test]
#[should_panic(expected = "a leak tells")]
fn the_redaction_check_detects_a_leak() {
    assert_redacted("a leak", &password_digest(PASSWORD).salted_hash(1_767_254_400));
}

/// A value in a place that stays allocated after the value is dropped, so that what lies there then can be read.
struct MemoryProbe<T> {
    /// Dropped by `clear`, which leaves its bytes alone.
    value: Vec<T>,
    memory: File,
}

impl<T> MemoryProbe<T> {
    fn new(value: T) -> Self {
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
fn is_zeroized<T>(value: T, secret: &[u8]) -> bool {
    let mut place = MemoryProbe::new(value);
    let (address, inside) = place.find(secret);
    let mut left = vec![0; secret.len()];
    place.value.clear();
    assert!(place.read(address, &mut left));
    // The allocator writes two words of its own into what it got back.
    let own = if inside { 0 } else { 2 * size_of::<usize>() };
    left[own..].iter().zip(&secret[own..]).all(|(left, was)| left != was || *left == 0)
}

/// As [`is_wiped`], of a value that is secret as a whole, in whatever form: pointers and tables may stay, keys may not.
fn is_zeroized_entirely<T>(value: T) -> bool {
    let mut place = MemoryProbe::new(value);
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
fn requires_zeroize_on_drop<T: ZeroizeOnDrop>(value: T) -> T {
    value
}

#[test]
fn secrets_are_zeroized_on_drop() {
    let text = "a password of sixty-four characters, more than any allocator uses";
    assert!(is_zeroized(requires_zeroize_on_drop(RawPassword::new(text.to_owned())), text.as_bytes()));
    let typed = text.replace([' ', '-'], "");
    assert!(is_zeroized(requires_zeroize_on_drop(Code::from_user_input(text)), typed.as_bytes()));
    assert!(is_zeroized(requires_zeroize_on_drop(token()), TOKEN.as_bytes()));
    assert!(is_zeroized(requires_zeroize_on_drop(password_digest(PASSWORD)), &md5(PASSWORD.as_bytes())));
    // What is made of them holds them.
    assert!(is_zeroized(new_password(), &md5(PASSWORD.as_bytes())));
    assert!(is_zeroized(PresentedSecret::Digest(password_digest(PASSWORD)), &md5(PASSWORD.as_bytes())));
    assert!(is_zeroized(Proof::Raw(RawPassword::new(text.to_owned())), text.as_bytes()));
    assert!(is_zeroized(requires_zeroize_on_drop(MacKey::new(Zeroizing::new([0xab; 32]))), &[0xab; 32]));
    assert!(is_zeroized(requires_zeroize_on_drop(Zeroizing::new([0xab_u8; 32])), &[0xab; 32]));
    // What a sealing key becomes; what the key of keyed hashes is hashed by, and a password.
    assert!(is_zeroized_entirely(requires_zeroize_on_drop(<aes_gcm::Aes256Gcm as aes_gcm::KeyInit>::new(
        &[0xab; 32].into()
    ))));
    assert!(is_zeroized_entirely(requires_zeroize_on_drop(<sha2::Sha256 as md5::Digest>::new_with_prefix(text))));
    assert!(is_zeroized_entirely(requires_zeroize_on_drop(<md5::Md5 as md5::Digest>::new_with_prefix(text))));
}

#[test]
fn the_zeroize_check_detects_leftover_secrets() {
    let text = "what is dropped like this stays where it was until it is overwritten";
    assert!(!is_zeroized(text.to_owned(), text.as_bytes()));
    assert!(!is_zeroized([0xab_u8; 32], &[0xab; 32]));
    assert!(!is_zeroized_entirely([0xab_u8; 32]));
}
