//! Types with secrets: redaction of the secrets in debug output, and zeroization on drop.

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
use stele_core::oauth::ClientSecret;
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
use stele_core::usecase::change_password::{ChangePasswordRequest, PasswordChangeAuthorization};
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::usecase::register::RegisterRequest;
use stele_core::usecase::reset_password::ResetPasswordRequest;
use stele_core::usecase::set_password::SetPasswordAuthorization;
use stele_core::user::{Account, ClientUserId, Credential, Gender, NewUser, Profile, Role, User, UserId};
use stele_core::verifier::{self, Argon2Cost, PresentedSecret};
use zeroize::{ZeroizeOnDrop, Zeroizing};

const PASSWORD: &str = "correct-horse";
const CODE: &str = "629457";
const TOKEN: &str = "8d7e1c5ab2f94036a1b2c3d4e5f60718";
const AT: Timestamp = Timestamp::from_secs(1_767_254_400);

/// The texts that debug output must not contain: secret texts, and secret bytes in each form that a formatter produces.
fn secret_texts() -> Vec<String> {
    let digest = md5(PASSWORD.as_bytes());
    let salted = password_digest(PASSWORD).salted_hash(1_767_254_400);
    let mut texts: Vec<String> = [PASSWORD, CODE, TOKEN].map(str::to_owned).to_vec();
    for bytes in [&digest, &salted, &[0xab; 16], &[0xcd; 16]] {
        // The first bytes are enough, in hex and as a list of numbers.
        texts.push(hex::encode(&bytes[..4]));
        texts.push(hex::encode(&bytes[..4]).to_uppercase());
        texts.push(format!("{}, {}, {}", bytes[0], bytes[1], bytes[2]));
    }
    texts
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    use md5::Digest as _;
    md5::Md5::digest(bytes).into()
}

fn password_digest(password: &str) -> PasswordDigest {
    RawPassword::new(password.to_owned()).digest()
}

#[track_caller]
fn assert_redacted(description: &str, value: &dyn Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}").replace(",\n", ", ").replace("  ", "")] {
        for secret in secret_texts() {
            assert!(!text.contains(&secret), "{description} prints {secret}: {text}");
        }
        assert!(!text.contains("argon2") && !text.contains("md5ps"), "{description} prints a hash: {text}");
    }
}

fn salted_proof() -> SaltedProof {
    SaltedProof { digest: password_digest(PASSWORD).salted_hash(1_767_254_400), timestamp: 1_767_254_400.into() }
}

fn raw_password() -> RawPassword {
    RawPassword::new(PASSWORD.to_owned())
}

fn new_password() -> NewPassword {
    NewPassword::from_administrator(&raw_password()).unwrap()
}

fn token() -> Token {
    Token::parse(TOKEN).unwrap()
}

fn sealed_secret() -> SealedSecret {
    SealedSecret { key_id: 1, bytes: vec![0xcd; 16] }
}

fn credential() -> Credential {
    let low_cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };
    Credential {
        verifier: verifier::hash(&password_digest(PASSWORD), &[1; 16], low_cost, &mut verifier::HashMemory::default())
            .unwrap(),
        sealed: Some(sealed_secret()),
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
    assert_redacted("a password", &raw_password());
    assert_redacted("a digest", &password_digest(PASSWORD));
    assert_redacted("a new password", &new_password());
    for secret in [PresentedSecret::Raw(raw_password()), PresentedSecret::Digest(password_digest(PASSWORD))] {
        assert_redacted("a secret", &secret);
    }
    assert_redacted("a salted proof", &salted_proof());
    let proofs = || {
        [
            Proof::Raw(raw_password()),
            Proof::Digest(password_digest(PASSWORD)),
            Proof::Salted(salted_proof()),
            Proof::SaltedOrDigest(salted_proof()),
        ]
    };
    let caller = &RequestInfo::from_client("cloudbox", IpAddr::V4(Ipv4Addr::LOCALHOST));
    for (proof, second_proof) in proofs().into_iter().zip(proofs()) {
        assert_redacted("a proof", &proof);
        let (allowed_users, transport) = (AllowedUsers::Everyone, SessionTransport::Token);
        let challenge = Challenge::Code(Some(Code::from_user_input(CODE)));
        assert_redacted(
            "a login",
            &LoginRequest { identifier: "mark", proof, caller, allowed_users, challenge, transport },
        );
        let (user, token) = (ClientUserId::from(UserId::from_bytes([1; 16])), token());
        let change = ChangePasswordRequest {
            authorization: PasswordChangeAuthorization::WithToken(&user, &token),
            proof: second_proof,
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
    assert_redacted("a sealed secret", &sealed_secret());
    assert_redacted("a credential", &credential());
    assert_redacted(
        "an account",
        &Account { user: user(), credential: credential(), epoch: 0, salted_at: None, legacy: None },
    );
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
    assert_redacted(
        "a sealed row",
        &SealedUser { number: 100_001, id: UserId::from_bytes([1; 16]), sealed: sealed_secret() },
    );
    let app = App { name: "melink".to_owned(), secret: sealed_secret(), may_token: Vec::new(), created_at: AT };
    assert_redacted("an app", &app);
}

#[test]
fn debug_output_of_keys_tokens_and_codes_is_redacted() {
    assert_redacted("a token", &token());
    for authorization in [SetPasswordAuthorization::ResetToken(token()), SetPasswordAuthorization::RecentLogin(token())]
    {
        assert_redacted("an authorization", &authorization);
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
#[should_panic(expected = "a leak prints")]
fn the_redaction_check_detects_a_leak() {
    assert_redacted("a leak", &password_digest(PASSWORD).salted_hash(1_767_254_400));
}

/// Holds a value in memory that stays allocated after the value is dropped, so that it can be inspected.
struct MemoryProbe<T> {
    /// The value. `clear` drops the value and does not free the memory.
    value: Vec<T>,
    memory: File,
}

impl<T> MemoryProbe<T> {
    fn new(value: T) -> Self {
        let mut probe = Self { value: Vec::with_capacity(1), memory: File::open("/proc/self/mem").unwrap() };
        probe.value.push(value);
        probe
    }

    fn address(&self) -> usize {
        self.value.as_ptr().addr()
    }

    /// Reads this process's memory at an address, if it is mapped. Allocates nothing.
    fn read(&self, address: usize, bytes: &mut [u8]) -> bool {
        self.memory.read_exact_at(bytes, address as u64).is_ok()
    }

    /// The address of `secret`, and whether it is inside the value or behind one of its pointers.
    fn find(&self, secret: &[u8]) -> (usize, bool) {
        let (mut inside, mut pointee) = (vec![0; size_of::<T>()], vec![0; secret.len()]);
        assert!(self.read(self.address(), &mut inside));
        if let Some(offset) = inside.windows(secret.len()).position(|window| window == secret) {
            return (self.address() + offset, true);
        }
        let mut words =
            inside.chunks_exact(size_of::<usize>()).map(|word| usize::from_ne_bytes(word.try_into().unwrap()));
        let pointer = words.find(|&word| self.read(word, &mut pointee) && pointee == secret);
        (pointer.unwrap_or_else(|| panic!("the secret is not in the value")), false)
    }
}

/// Whether no byte of `secret` is left in memory after `value` is dropped.
fn is_zeroized<T>(value: T, secret: &[u8]) -> bool {
    let mut probe = MemoryProbe::new(value);
    let (address, is_inline) = probe.find(secret);
    let mut remaining = vec![0; secret.len()];
    probe.value.clear();
    assert!(probe.read(address, &mut remaining));
    // The allocator writes two words into freed memory.
    let overwritten = if is_inline { 0 } else { 2 * size_of::<usize>() };
    remaining[overwritten..]
        .iter()
        .zip(&secret[overwritten..])
        .all(|(byte, secret_byte)| byte != secret_byte || *byte == 0)
}

/// Whether nearly all of the bytes of `value` itself are changed by dropping it, for a value that is secret as a whole.
/// A few bytes, such as pointers to tables, may stay.
fn is_zeroized_entirely<T>(value: T) -> bool {
    let mut probe = MemoryProbe::new(value);
    let (mut before, mut after) = (vec![0; size_of::<T>()], vec![0; size_of::<T>()]);
    assert!(probe.read(probe.address(), &mut before));
    probe.value.clear();
    assert!(probe.read(probe.address(), &mut after));
    let nonzero = before.iter().filter(|&&byte| byte != 0).count();
    let unchanged = before.iter().zip(&after).filter(|(before, after)| **before != 0 && before == after).count();
    assert!(nonzero >= 16, "the value has bytes to zeroize: {before:?}");
    unchanged * 8 < nonzero
}

/// Does not compile if the type lacks the trait.
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
    assert!(is_zeroized(requires_zeroize_on_drop(ClientSecret::from_request(text)), text.as_bytes()));
    assert!(is_zeroized(requires_zeroize_on_drop(password_digest(PASSWORD)), &md5(PASSWORD.as_bytes())));
    // Types that contain the types above.
    assert!(is_zeroized(new_password(), &md5(PASSWORD.as_bytes())));
    assert!(is_zeroized(PresentedSecret::Digest(password_digest(PASSWORD)), &md5(PASSWORD.as_bytes())));
    assert!(is_zeroized(Proof::Raw(RawPassword::new(text.to_owned())), text.as_bytes()));
    assert!(is_zeroized(requires_zeroize_on_drop(MacKey::new(Zeroizing::new([0xab; 32]))), &[0xab; 32]));
    assert!(is_zeroized(requires_zeroize_on_drop(Zeroizing::new([0xab_u8; 32])), &[0xab; 32]));
    // The states that AES, SHA-256 and md5 derive from a key or a password.
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
