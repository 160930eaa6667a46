//! Tests of password verification, with hashes of other implementations for the imported forms.

use super::*;

const LOW_COST: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };

fn hash(digest: &PasswordDigest, salt: &[u8; 16], cost: Argon2Cost) -> Option<String> {
    super::hash(digest, salt, cost, &mut HashMemory::default())
}

fn verify(stored: &str, secret: &PresentedSecret) -> bool {
    super::verify(stored, secret, &mut HashMemory::default())
}

fn raw_secret(text: &str) -> PresentedSecret {
    PresentedSecret::Raw(RawPassword::new(text.to_owned()))
}

#[test]
fn our_hash_verifies_the_password_and_its_digest() {
    let stored = hash(&raw_secret("123456").digest(), &[7; 16], LOW_COST).unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
    assert!(verify(&stored, &raw_secret("123456")));
    assert!(verify(&stored, &PresentedSecret::Digest(raw_secret("123456").digest())));
    assert!(!verify(&stored, &raw_secret("1234567")));
    assert!(!verify(&stored, &raw_secret("e10adc3949ba59abbe56e057f20f883e")), "D is not a password");
    assert!(is_current(&stored, LOW_COST) && !is_current(&stored, Argon2Cost::default()));
}

#[test]
fn reused_memory_does_not_affect_the_hash() {
    let mut memory = HashMemory::default();
    for cost in [
        LOW_COST,
        Argon2Cost { memory_kib: 32, passes: 3, lanes: 4 },
        Argon2Cost { memory_kib: 256, passes: 2, lanes: 1 },
        LOW_COST,
    ] {
        let used = super::hash(&raw_secret("123456").digest(), &[7; 16], cost, &mut memory).unwrap();
        assert_eq!(Some(&used), hash(&raw_secret("123456").digest(), &[7; 16], cost).as_ref(), "{cost:?}");
        assert!(super::verify(&used, &raw_secret("123456"), &mut memory));
        assert!(!super::verify(&used, &raw_secret("wrong"), &mut memory));
    }
    assert_eq!(memory.size_kib(), 256, "the memory of the largest hash");
}

#[test]
fn a_replacement_hash_is_never_cheaper() {
    let cost_of = |memory, passes| Argon2Cost { memory_kib: memory, passes, lanes: 1 };
    let hash_with = |cost| hash(&raw_secret("123456").digest(), &[7; 16], cost).unwrap();
    // The stored cost, the configured cost, and the cost of the replacement if there is one.
    for (before, configured, after) in [
        (cost_of(64, 2), cost_of(64, 2), None),
        (cost_of(64, 2), cost_of(64, 1), None),
        (cost_of(128, 1), cost_of(64, 2), None),
        (cost_of(64, 2), cost_of(64, 3), Some(cost_of(64, 3))),
        (cost_of(64, 2), cost_of(128, 1), Some(cost_of(128, 1))),
        (cost_of(64, 4), cost_of(128, 1), Some(cost_of(128, 2))),
        (cost_of(128, 1), cost_of(64, 5), Some(cost_of(128, 3))),
    ] {
        let stored = hash_with(before);
        assert_eq!(is_current(&stored, configured), after.is_none(), "{before:?} {configured:?}");
        let replacement = replacement_cost(&stored, configured);
        assert!(replacement.is_at_least(before) && replacement.is_at_least(configured));
        if let Some(after) = after {
            assert_eq!(replacement, after, "{before:?} {configured:?}");
        }
    }
    let more_lanes = Argon2Cost { lanes: 4, ..LOW_COST };
    assert!(is_current(&hash_with(LOW_COST), more_lanes) && is_current(&hash_with(more_lanes), LOW_COST));
    // The cost of an imported hash does not raise ours.
    let imported = format!("{UNWRAPPED_PREFIX}{}", hash_with(cost_of(256, 2)));
    assert_eq!(replacement_cost(&imported, LOW_COST), LOW_COST);
}

#[test]
fn minimum_costs_follow_the_owasp_cheat_sheet() {
    let cost_of = |memory, passes, lanes| Argon2Cost { memory_kib: memory, passes, lanes };
    assert!(Argon2Cost::default().is_strong() && Argon2Cost::MAX.is_strong() && Argon2Cost::MAX.is_within_limits());
    for strong in [cost_of(47_104, 1, 1), cost_of(65_536, 1, 4), cost_of(12_288, 3, 1), cost_of(7_168, 16, 1)] {
        assert!(strong.is_strong(), "{strong:?}");
    }
    for weak in
        [cost_of(47_103, 1, 1), cost_of(19_455, 2, 1), cost_of(7_167, 16, 1), cost_of(7_168, 4, 1), cost_of(0, 0, 0)]
    {
        assert!(!weak.is_strong(), "{weak:?}");
    }
    for excessive in [cost_of(262_145, 1, 1), cost_of(19_456, 17, 1), cost_of(19_456, 2, 17)] {
        assert!(!excessive.is_within_limits(), "{excessive:?}");
    }
}

#[test]
fn the_remaining_cost_completes_the_total_work() {
    let cost = Argon2Cost { memory_kib: 47_104, passes: 3, lanes: 1 };
    for done_kib in [0, 64, 38_912, 100_000] {
        let remaining = cost.remaining_after(done_kib).unwrap();
        assert!(
            remaining.memory_kib <= cost.memory_kib
                && remaining.total_kib_written() + done_kib <= cost.total_kib_written()
        );
        assert!(
            remaining.total_kib_written() + done_kib > cost.total_kib_written() - u64::from(cost.passes),
            "{done_kib}"
        );
    }
    assert_eq!(cost.remaining_after(0), Some(cost));
    assert_eq!((cost.remaining_after(cost.total_kib_written()), cost.remaining_after(u64::MAX)), (None, None));
}

/// Imports a hash as `stele user add --hash-stdin` does, and returns the verifier to store.
fn import_hash(text: &str) -> String {
    match parse_imported(text).unwrap() {
        ImportedHash::Digest(digest) => hash(&digest, &[7; 16], LOW_COST).unwrap(),
        ImportedHash::Strong(stored) => stored,
        ImportedHash::Weak(weak) => wrap(&weak, &[7; 16], LOW_COST, &mut HashMemory::default()).unwrap(),
    }
}

/// Hashes of `correct horse` by other implementations: see tests/vectors/README.md.
fn imported_hashes() -> impl Iterator<Item = &'static str> {
    include_str!("../tests/vectors/imported.txt").lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn verification_work_and_memory_count_only_computed_hashes() {
    let ours = hash(&raw_secret("123456").digest(), &[7; 16], LOW_COST).unwrap();
    let digest = PresentedSecret::Digest(raw_secret("123456").digest());
    assert_eq!((verification_work(&ours, &digest), verification_work(&ours, &raw_secret("x"))), (64, 64));
    for imported in [
        format!("{UNWRAPPED_PREFIX}{ours}"),
        format!("{PHC_PREFIX}{ours}"),
        format!("{WRAPPED_PREFIX}$md5ps$00|{ours}"),
    ] {
        assert_eq!((verification_work(&imported, &digest), verification_work(&imported, &raw_secret("x"))), (0, 64));
        assert_eq!(memory_needed_kib(&imported), 64);
    }
    let wrapped_argon2i =
        import_hash("$argon2i$v=19$m=256,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$Syv3W+wu0WQmcIO0T/vyAKG2GIggWAj9la1x01ew7wE");
    assert_eq!(
        (
            verification_work(&wrapped_argon2i, &digest),
            verification_work(&wrapped_argon2i, &raw_secret("x")),
            memory_needed_kib(&wrapped_argon2i)
        ),
        (0, 64 + 512, 256)
    );
    let costly = ours.replace("m=64", "m=4194304");
    for stored in
        [costly.as_str(), "{raw}$md5ps$00$5f4dcc3b5aa765d61d8327deb882cf99", "", WRAPPED_PREFIX, UNWRAPPED_PREFIX]
    {
        assert_eq!((verification_work(stored, &raw_secret("x")), memory_needed_kib(stored)), (0, 0), "{stored}");
    }
    assert_eq!(memory_needed_kib(&ours), 64);
}

#[test]
fn imported_hashes_verify_only_the_raw_password() {
    let mut seen = 0;
    for line in imported_hashes() {
        let (wrapped, unwrapped) = (import_hash(line), format!("{UNWRAPPED_PREFIX}{line}"));
        for stored in [&wrapped, &unwrapped] {
            assert!(verify(stored, &raw_secret("correct horse")), "{stored}");
            assert!(!verify(stored, &raw_secret("wrong")) && !verify(stored, &raw_secret("")), "{stored}");
            assert!(!verify(stored, &PresentedSecret::Digest(raw_secret("correct horse").digest())), "{stored}");
            assert!(is_imported(stored) && !is_current(stored, LOW_COST));
        }
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn hashes_below_the_owasp_minimums_are_stored_only_wrapped() {
    for line in imported_hashes() {
        let (stored, (spec, secret)) = (import_hash(line), line.rsplit_once('$').unwrap());
        let secret = if line.starts_with("$2") { &secret[22..] } else { secret };
        let is_strong = line.starts_with("$argon2id$v=19$m=19456,t=2,p=1$");
        assert_eq!(stored.contains(secret), is_strong, "{stored}");
        let prefix = if is_strong { format!("{PHC_PREFIX}{spec}$") } else { WRAPPED_PREFIX.to_owned() };
        assert!(stored.starts_with(&prefix), "{stored}");
        assert!(is_strong || stored.contains("|$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
    }
}

#[test]
fn a_plain_md5_is_the_digest_and_an_empty_salt_is_rejected() {
    let digest = "3cb4e732631f47e6eb961f34554b7cde".to_uppercase();
    let Ok(ImportedHash::Digest(read)) = parse_imported(&format!(" {digest}\n")) else { panic!("32 hex digits are D") };
    assert_eq!(read.hex().to_vec(), digest.to_lowercase().into_bytes());
    for kind in ["md5ps", "md5sp"] {
        let unsalted = format!("${kind}$${digest}");
        assert!(parse_imported(&unsalted).unwrap_err().to_string().contains("its 32 hex digits alone"), "{unsalted}");
        // Earlier versions accepted these and stored them unwrapped.
        let Some(ImportedHash::Digest(unwrapped)) = parse_unwrapped(&format!("{UNWRAPPED_PREFIX}{unsalted}")) else {
            panic!("an md5 without salt is D")
        };
        assert_eq!(unwrapped.expose(), read.expose());
    }
}

#[test]
fn unwrapped_hashes_of_earlier_versions_are_parsed() {
    for line in imported_hashes() {
        let replaced = match parse_unwrapped(&format!("{UNWRAPPED_PREFIX}{line}")).unwrap() {
            ImportedHash::Digest(_) => panic!("{line} is salted"),
            ImportedHash::Strong(stored) => stored,
            ImportedHash::Weak(weak) => wrap(&weak, &[7; 16], LOW_COST, &mut HashMemory::default()).unwrap(),
        };
        assert_eq!(replaced, import_hash(line));
        assert!(parse_unwrapped(&replaced).is_none(), "{replaced}");
    }
    let ours = hash(&raw_secret("123456").digest(), &[7; 16], LOW_COST).unwrap();
    for other in
        [ours.as_str(), "", UNWRAPPED_PREFIX, "{raw}$md5ps$zz$5f4dcc3b5aa765d61d8327deb882cf99", "{raw}$2b$05$short"]
    {
        assert!(parse_unwrapped(other).is_none(), "{other}");
    }
}

#[test]
fn too_costly_and_malformed_hashes_are_rejected() {
    for bad in [
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$2b$31$LV2jmQQqha4qtlfpEuiSBOs/4YEMboNuVSDRdm4Iyk67RnkA6MhOG",
        "$2x$05$LV2jmQQqha4qtlfpEuiSBOs/4YEMboNuVSDRdm4Iyk67RnkA6MhOG",
        "$2b$05$LV2jmQQqha4qtlfpEuiSBOs/4YEMboNuVSDRdm4Iyk67RnkA6Mh",
        "5f4dcc3b5aa765d61d8327deb882cf9",
        "$md5ps$zz$5f4dcc3b5aa765d61d8327deb882cf99",
        "$md5$00$5f4dcc3b5aa765d61d8327deb882cf99",
        "",
    ] {
        assert!(parse_imported(bad).is_err(), "{bad}");
    }
    // A stored verifier that asks for too much is not computed either.
    let ours = hash(&raw_secret("x").digest(), &[7; 16], LOW_COST).unwrap();
    for inner_spec in
        ["$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$32", "$2b$31$LV2jmQQqha4qtlfpEuiSBO", "$md5ps$z", ""]
    {
        assert!(!verify(&format!("{WRAPPED_PREFIX}{inner_spec}|{ours}"), &raw_secret("x")), "{inner_spec}");
    }
}

#[test]
fn bcrypt_passwords_are_neither_truncated_nor_cut_at_nul() {
    let too_long = "x".repeat(73);
    for to_verifier in [|text: &str| format!("{UNWRAPPED_PREFIX}{text}"), |text: &str| import_hash(text)] {
        let hash = to_verifier(&bcrypt::hash(&too_long[..72], 4).unwrap());
        assert!(verify(&hash, &raw_secret(&too_long[..72])));
        assert!(!verify(&hash, &raw_secret(&too_long)));
        let hash = to_verifier(&bcrypt::hash("ab", 4).unwrap());
        assert!(!verify(&hash, &raw_secret("ab\0c")));
        // A password that bcrypt rejects does not match the hash of the empty password.
        let empty = to_verifier(&bcrypt::hash("", 4).unwrap());
        assert!(!verify(&empty, &raw_secret(&too_long)));
    }
}
