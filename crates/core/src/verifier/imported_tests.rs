//! Tests of the forms of other systems, with hashes that these or other implementations made: see tests/vectors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::verifier::{PendingHash, is_current, verification_work, verify, wrap};

const LOW_COST: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };

fn raw(password: &str) -> PresentedSecret {
    PresentedSecret::Raw(RawPassword::new(password.to_owned()))
}

fn digest(password: &str) -> PresentedSecret {
    PresentedSecret::Digest(RawPassword::new(password.to_owned()).digest())
}

/// The password and the hash of each line.
fn vectors() -> impl Iterator<Item = (&'static str, &'static str)> {
    let kinds = include_str!("../../tests/vectors/kinds.txt").lines().filter_map(|line| line.split_once('\t'));
    let identity = include_str!("../../tests/vectors/identity.txt").lines().filter(|line| !line.starts_with('#'));
    kinds.chain(identity.map(|line| ("my password", line)))
}

#[test]
fn hashes_of_other_systems_verify_while_they_wait_and_when_they_are_wrapped() {
    let memory = &mut HashMemory::default();
    let mut seen = 0;
    for (password, text) in vectors() {
        let imported = parse_imported(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let ImportedHash::Weak(weak) = imported.clone() else { panic!("{text} is cheaper than argon2id") };
        let wrapped = wrap(&weak, &[7; 16], LOW_COST, memory).unwrap();
        let pending = PendingHash::new(imported).unwrap();
        let is_of_digest = text.starts_with("$md5ds$");
        for (presented, expected) in [
            (raw(password), true),
            (digest(password), is_of_digest),
            (raw("wrong"), false),
            (digest("wrong"), false),
            (raw(""), false),
            (raw(&"x".repeat(5_000)), false),
        ] {
            assert_eq!(verify(&wrapped, &presented, memory), expected, "{wrapped}");
            assert_eq!(pending.verify(&presented, memory), expected, "{text}");
        }
        let output = text.rsplit('$').next().unwrap().to_lowercase();
        for stored in [wrapped.as_str(), pending.verifier()] {
            assert!(!is_current(stored, LOW_COST) && !stored.to_lowercase().contains(&output), "{stored}");
        }
        seen += 1;
    }
    assert_eq!(seen, 2 * 19 + 6);
}

#[test]
fn a_digest_costs_as_much_as_a_password_where_it_can_match() {
    let memory = &mut HashMemory::default();
    for (password, text) in vectors() {
        let Ok(ImportedHash::Weak(weak)) = parse_imported(text) else { panic!("{text}") };
        let wrapped = wrap(&weak, &[7; 16], LOW_COST, memory).unwrap();
        let expected = if text.starts_with("$md5ds$") { LOW_COST.total_kib_written() } else { 0 };
        assert_eq!(verification_work(&wrapped, &digest(password)), expected, "{wrapped}");
        assert!(verification_work(&wrapped, &raw(password)) >= LOW_COST.total_kib_written(), "{wrapped}");
    }
}

#[test]
fn wordpress_slashes_and_trims_the_password_and_phpbb_does_not() {
    let memory = &mut HashMemory::default();
    let quoted = " it's \"a\\b\" 密码 ";
    for (password, text) in vectors().filter(|(password, _)| *password == quoted) {
        let pending = PendingHash::new(parse_imported(text).unwrap()).unwrap();
        let is_wordpress = text.starts_with("$P$") || text.starts_with("$wp$");
        assert_eq!(pending.verify(&raw(password.trim()), memory), is_wordpress, "{text}");
    }
}

#[test]
fn the_form_of_a_hash_is_recognized_even_if_it_is_damaged() {
    for (text, expected) in [
        (" E10ADC3949BA59ABBE56E057F20F883E ", Some(HashForm::Md5)),
        ("$argon2", Some(HashForm::Argon2)),
        ("$2y$10$", Some(HashForm::Bcrypt)),
        ("{bcrypt}$2a$10$", Some(HashForm::Bcrypt)),
        ("$P$B", Some(HashForm::WordPress)),
        ("$wp$2y$", Some(HashForm::WordPress)),
        ("$H$9", Some(HashForm::Phpass)),
        ("pbkdf2_sha256$1", Some(HashForm::Django)),
        ("sha1$$", Some(HashForm::Django)),
        ("$sha1ps$", Some(HashForm::Salted)),
        ("AQAAAAEAACcQAAAAE", Some(HashForm::Identity)),
        ("AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==", Some(HashForm::Identity)),
        ("AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJghh", None),
        ("0123456789abcdef", None),
        ("123456", None),
        ("$1$salt$hash", None),
        ("$5$rounds=1000$x$y", None),
        ("scrypt$x$1$8$1$x", None),
        ("", None),
    ] {
        assert_eq!(HashForm::of(text), expected, "{text}");
    }
}

#[test]
fn hashes_that_are_too_costly_or_damaged_are_rejected_with_the_reason() {
    let django = |iterations: &str| format!("pbkdf2_sha256${iterations}$salt${}", STANDARD.encode([7; 32]));
    let identity = |prf: u32, iterations: u32, salt_length: u32, rest: usize| {
        let header = [prf, iterations, salt_length].map(u32::to_be_bytes).concat();
        STANDARD.encode([&[1][..], &header, &vec![7; rest]].concat())
    };
    let bcrypt = "E8MsYkr1KQ3WTwu2aYgcPeKEnmr/qYQrH7qkgCtgUkj46r59lal.2";
    let phpass = "xoYe5ex8FfjUrowb.lEo8OAOBbCw7/";
    let digest = "e10adc3949ba59abbe56e057f20f883e";
    for (text, expected) in [
        (django("1000000000"), InvalidHash::TooCostly),
        (django("99999999999999999999"), InvalidHash::TooCostly),
        (django("2000001"), InvalidHash::TooCostly),
        (django("0"), InvalidHash::DamagedPbkdf2),
        (django("-1"), InvalidHash::DamagedPbkdf2),
        (django(""), InvalidHash::DamagedPbkdf2),
        (django("1000").replace("Bw", "B!"), InvalidHash::DamagedPbkdf2),
        (django("1000").replace("sha256", "sha1"), InvalidHash::DamagedPbkdf2),
        ("pbkdf2_sha256$1000$salt".to_owned(), InvalidHash::DamagedPbkdf2),
        (format!("pbkdf2_sha256$1000${}${}", "s".repeat(257), STANDARD.encode([7; 32])), InvalidHash::DamagedPbkdf2),
        (identity(1, 1_000_000_000, 16, 48), InvalidHash::TooCostly),
        // Four blocks of SHA-1.
        (identity(0, 500_001, 16, 80), InvalidHash::TooCostly),
        (identity(3, 1_000, 16, 48), InvalidHash::DamagedPbkdf2),
        (identity(1, 0, 16, 48), InvalidHash::DamagedPbkdf2),
        (identity(1, 1_000, 8, 40), InvalidHash::DamagedPbkdf2),
        (identity(1, 1_000, u32::MAX, 48), InvalidHash::DamagedPbkdf2),
        // A key of one byte would match one password of 256.
        (identity(1, 1_000, 16, 17), InvalidHash::DamagedPbkdf2),
        (identity(1, 1_000, 16, 16), InvalidHash::DamagedPbkdf2),
        (identity(1, 1_000, 16, 81), InvalidHash::DamagedPbkdf2),
        (format!("$wp$2y$31${bcrypt}"), InvalidHash::TooCostly),
        (format!("bcrypt_sha256$$2b$31${bcrypt}"), InvalidHash::TooCostly),
        (format!("$wp$2y$05${}", &bcrypt[1..]), InvalidHash::DamagedBcrypt),
        (format!("$wp$2x$05${bcrypt}"), InvalidHash::UnknownBcrypt),
        (format!("bcrypt${bcrypt}"), InvalidHash::DamagedBcrypt),
        (
            "argon2$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc".to_owned(),
            InvalidHash::TooCostly,
        ),
        ("argon2$argon2id$v=19".to_owned(), InvalidHash::DamagedArgon2),
        (format!("$P$G{phpass}"), InvalidHash::TooCostly),
        (format!("$H$S{phpass}"), InvalidHash::TooCostly),
        (format!("$P$4{phpass}"), InvalidHash::DamagedPhpass),
        (format!("$P$T{phpass}"), InvalidHash::DamagedPhpass),
        (format!("$P$B{}", &phpass[1..]), InvalidHash::DamagedPhpass),
        (format!("$P$B{}!", &phpass[1..]), InvalidHash::DamagedPhpass),
        ("$P$B密码".to_owned(), InvalidHash::DamagedPhpass),
        ("$P$".to_owned(), InvalidHash::DamagedPhpass),
        (format!("$md5ps$${digest}"), InvalidHash::EmptySalt),
        (format!("$md5ds$zz${digest}"), InvalidHash::DamagedSalted),
        (format!("$md5ds$123${digest}"), InvalidHash::DamagedSalted),
        (format!("$sha1ps$12${digest}"), InvalidHash::DamagedSalted),
        (format!("$md5ds${}${digest}", "00".repeat(257)), InvalidHash::DamagedSalted),
        (format!("$md5ds${digest}"), InvalidHash::DamagedSalted),
        (format!("$sha512ps$12${digest}"), InvalidHash::UnknownForm),
    ] {
        assert_eq!(parse_imported(&text).err(), Some(expected), "{text}");
    }
    // An unsalted md5 of Django is D.
    assert!(matches!(parse_imported(&format!("md5$${digest}")), Ok(ImportedHash::Digest(_))));
    for bound in [django("2000000"), identity(0, 500_000, 16, 80), format!("$P$F{phpass}")] {
        assert!(matches!(parse_imported(&bound), Ok(ImportedHash::Weak(_))), "{bound}");
    }
    assert!(InvalidHash::TooCostly.to_string().contains("2,000,000 iterations"));
}

#[test]
fn a_stored_spec_that_is_damaged_or_too_costly_matches_nothing() {
    for spec in [
        "$pbkdf2-sha256$2000001$00$32",
        "$pbkdf2-sha256$0$00$32",
        "$pbkdf2-sha256$1000$00$65",
        "$pbkdf2-sha256$1000$00$15",
        "$pbkdf2-sha256$1000$00$32$",
        "$pbkdf2-md5$1000$00$32",
        "$pbkdf2-",
        "$wp$2y$31$E8MsYkr1KQ3WTwu2aYgcPe",
        "$wp$2y$05$E8MsYkr1KQ3WTwu2aYgcP",
        "$bcrypt-sha256$2b$15$E8MsYkr1KQ3WTwu2aYgcPe",
        "$P$GxoYe5ex8",
        "$H$9xoYe5ex",
        "$md5ds$0",
        "$sha3ps$00",
        "",
    ] {
        assert!(InnerHash::parse(spec).is_none(), "{spec}");
    }
}
