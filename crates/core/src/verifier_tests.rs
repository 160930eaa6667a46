//! Verifiers of our own and from elsewhere, against vectors of other implementations.

use super::*;

const LOW_COST: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };

fn hash(digest: &PasswordDigest, salt: &[u8; 16], cost: Argon2Cost) -> Option<String> {
    super::hash(digest, salt, cost, &mut HashMemory::default())
}

fn verify(stored: &str, secret: &PresentedSecret) -> bool {
    super::verify(stored, secret, &mut HashMemory::default())
}

fn raw(text: &str) -> PresentedSecret {
    PresentedSecret::Raw(RawPassword::new(text.to_owned()))
}

#[test]
fn our_hash_verifies_the_password_and_its_digest() {
    let stored = hash(&raw("123456").digest(), &[7; 16], LOW_COST).unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
    assert!(verify(&stored, &raw("123456")));
    assert!(verify(&stored, &PresentedSecret::Digest(raw("123456").digest())));
    assert!(!verify(&stored, &raw("1234567")));
    assert!(!verify(&stored, &raw("e10adc3949ba59abbe56e057f20f883e")), "D is not a password");
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
        let used = super::hash(&raw("123456").digest(), &[7; 16], cost, &mut memory).unwrap();
        assert_eq!(Some(&used), hash(&raw("123456").digest(), &[7; 16], cost).as_ref(), "{cost:?}");
        assert!(super::verify(&used, &raw("123456"), &mut memory));
        assert!(!super::verify(&used, &raw("wrong"), &mut memory));
    }
    assert_eq!(memory.size_kib(), 256, "as much as the largest took");
}

#[test]
fn a_replacement_hash_is_never_cheaper() {
    let of = |memory, passes| Argon2Cost { memory_kib: memory, passes, lanes: 1 };
    let stored = |cost| hash(&raw("123456").digest(), &[7; 16], cost).unwrap();
    // What is stored, what is asked for, and what it is replaced by, if it is.
    for (before, asked, after) in [
        (of(64, 2), of(64, 2), None),
        (of(64, 2), of(64, 1), None),
        (of(128, 1), of(64, 2), None),
        (of(64, 2), of(64, 3), Some(of(64, 3))),
        (of(64, 2), of(128, 1), Some(of(128, 1))),
        (of(64, 4), of(128, 1), Some(of(128, 2))),
        (of(128, 1), of(64, 5), Some(of(128, 3))),
    ] {
        let stored = stored(before);
        assert_eq!(is_current(&stored, asked), after.is_none(), "{before:?} {asked:?}");
        let replacement = replacement_cost(&stored, asked);
        assert!(replacement.is_at_least(before) && replacement.is_at_least(asked));
        if let Some(after) = after {
            assert_eq!(replacement, after, "{before:?} {asked:?}");
        }
    }
    let lanes = Argon2Cost { lanes: 4, ..LOW_COST };
    assert!(is_current(&stored(LOW_COST), lanes) && is_current(&stored(lanes), LOW_COST));
    // A hash from elsewhere says nothing about what ours should cost.
    let foreign = format!("{UNWRAPPED_PREFIX}{}", stored(of(256, 2)));
    assert_eq!(replacement_cost(&foreign, LOW_COST), LOW_COST);
}

#[test]
fn minimum_costs_follow_the_owasp_cheat_sheet() {
    let of = |memory, passes, lanes| Argon2Cost { memory_kib: memory, passes, lanes };
    assert!(Argon2Cost::default().is_strong() && Argon2Cost::MAX.is_strong() && Argon2Cost::MAX.is_within_limits());
    for strong in [of(47_104, 1, 1), of(65_536, 1, 4), of(12_288, 3, 1), of(7_168, 16, 1)] {
        assert!(strong.is_strong(), "{strong:?}");
    }
    for weak in [of(47_103, 1, 1), of(19_455, 2, 1), of(7_167, 16, 1), of(7_168, 4, 1), of(0, 0, 0)] {
        assert!(!weak.is_strong(), "{weak:?}");
    }
    for unbearable in [of(262_145, 1, 1), of(19_456, 17, 1), of(19_456, 2, 17)] {
        assert!(!unbearable.is_within_limits(), "{unbearable:?}");
    }
}

#[test]
fn the_remaining_cost_completes_the_total_work() {
    let cost = Argon2Cost { memory_kib: 47_104, passes: 3, lanes: 1 };
    for done in [0, 64, 38_912, 100_000] {
        let rest = cost.remaining_after(done).unwrap();
        assert!(rest.memory_kib <= cost.memory_kib && rest.total_kib_written() + done <= cost.total_kib_written());
        assert!(rest.total_kib_written() + done > cost.total_kib_written() - u64::from(cost.passes), "{done}");
    }
    assert_eq!(cost.remaining_after(0), Some(cost));
    assert_eq!((cost.remaining_after(cost.total_kib_written()), cost.remaining_after(u64::MAX)), (None, None));
}

/// Imports as `stele user add --hash-stdin` does.
fn stored(text: &str) -> String {
    match parse_imported(text).unwrap() {
        ImportedHash::Digest(digest) => hash(&digest, &[7; 16], LOW_COST).unwrap(),
        ImportedHash::Strong(stored) => stored,
        ImportedHash::Weak(weak) => wrap(&weak, &[7; 16], LOW_COST, &mut HashMemory::default()).unwrap(),
    }
}

/// Hashes of `correct horse`, each made by another implementation: see tests/vectors/README.md.
fn vectors() -> impl Iterator<Item = &'static str> {
    include_str!("../tests/vectors/foreign.txt").lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn verification_work_counts_only_computed_hashes() {
    let ours = hash(&raw("123456").digest(), &[7; 16], LOW_COST).unwrap();
    let digest = PresentedSecret::Digest(raw("123456").digest());
    assert_eq!((verification_work(&ours, &digest), verification_work(&ours, &raw("x"))), (64, 64));
    for foreign in [
        format!("{UNWRAPPED_PREFIX}{ours}"),
        format!("{PHC_PREFIX}{ours}"),
        format!("{WRAPPED_PREFIX}$md5ps$00|{ours}"),
    ] {
        assert_eq!((verification_work(&foreign, &digest), verification_work(&foreign, &raw("x"))), (0, 64));
        assert_eq!(memory_needed_kib(&foreign), 64);
    }
    let twice =
        stored("$argon2i$v=19$m=256,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$Syv3W+wu0WQmcIO0T/vyAKG2GIggWAj9la1x01ew7wE");
    assert_eq!(
        (verification_work(&twice, &digest), verification_work(&twice, &raw("x")), memory_needed_kib(&twice)),
        (0, 64 + 512, 256)
    );
    let costly = ours.replace("m=64", "m=4194304");
    for stored in
        [costly.as_str(), "{raw}$md5ps$00$5f4dcc3b5aa765d61d8327deb882cf99", "", WRAPPED_PREFIX, UNWRAPPED_PREFIX]
    {
        assert_eq!((verification_work(stored, &raw("x")), memory_needed_kib(stored)), (0, 0), "{stored}");
    }
    assert_eq!(memory_needed_kib(&ours), 64);
}

#[test]
fn imported_hashes_verify_only_the_raw_password() {
    let mut seen = 0;
    for line in vectors() {
        let (wrapped, as_before) = (stored(line), format!("{UNWRAPPED_PREFIX}{line}"));
        for stored in [&wrapped, &as_before] {
            assert!(verify(stored, &raw("correct horse")), "{stored}");
            assert!(!verify(stored, &raw("wrong")) && !verify(stored, &raw("")), "{stored}");
            assert!(!verify(stored, &PresentedSecret::Digest(raw("correct horse").digest())), "{stored}");
            assert!(is_imported(stored) && !is_current(stored, LOW_COST));
        }
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn no_hash_cheaper_than_argon2id_is_stored() {
    for line in vectors() {
        let (stored, (how, secret)) = (stored(line), line.rsplit_once('$').unwrap());
        let secret = if line.starts_with("$2") { &secret[22..] } else { secret };
        let strong = line.starts_with("$argon2id$v=19$m=19456,t=2,p=1$");
        assert_eq!(stored.contains(secret), strong, "{stored}");
        let start = if strong { format!("{PHC_PREFIX}{how}$") } else { WRAPPED_PREFIX.to_owned() };
        assert!(stored.starts_with(&start), "{stored}");
        assert!(strong || stored.contains("|$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
    }
}

#[test]
fn a_plain_md5_is_the_digest_and_an_empty_salt_is_rejected() {
    let digest = "3cb4e732631f47e6eb961f34554b7cde".to_uppercase();
    let Ok(ImportedHash::Digest(read)) = parse_imported(&format!(" {digest}\n")) else { panic!("32 hex digits are D") };
    assert_eq!(read.hex().to_vec(), digest.to_lowercase().into_bytes());
    for kind in ["md5ps", "md5sp"] {
        let unsalted = format!("${kind}$${digest}");
        assert!(parse_imported(&unsalted).unwrap_err().contains("its 32 hex digits alone"), "{unsalted}");
        // What earlier builds took and kept as it came.
        let Some(ImportedHash::Digest(kept)) = parse_unwrapped(&format!("{UNWRAPPED_PREFIX}{unsalted}")) else {
            panic!("it is D")
        };
        assert_eq!(kept.expose(), read.expose());
    }
}

#[test]
fn unwrapped_hashes_of_earlier_builds_are_parsed() {
    for line in vectors() {
        let replaced = match parse_unwrapped(&format!("{UNWRAPPED_PREFIX}{line}")).unwrap() {
            ImportedHash::Digest(_) => panic!("{line} is salted"),
            ImportedHash::Strong(stored) => stored,
            ImportedHash::Weak(weak) => wrap(&weak, &[7; 16], LOW_COST, &mut HashMemory::default()).unwrap(),
        };
        assert_eq!(replaced, stored(line));
        assert!(parse_unwrapped(&replaced).is_none(), "{replaced}");
    }
    let ours = hash(&raw("123456").digest(), &[7; 16], LOW_COST).unwrap();
    for kept in
        [ours.as_str(), "", UNWRAPPED_PREFIX, "{raw}$md5ps$zz$5f4dcc3b5aa765d61d8327deb882cf99", "{raw}$2b$05$short"]
    {
        assert!(parse_unwrapped(kept).is_none(), "{kept}");
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
    // Nor is it computed where a row says so.
    let ours = hash(&raw("x").digest(), &[7; 16], LOW_COST).unwrap();
    for how in ["$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$32", "$2b$31$LV2jmQQqha4qtlfpEuiSBO", "$md5ps$z", ""] {
        assert!(!verify(&format!("{WRAPPED_PREFIX}{how}|{ours}"), &raw("x")), "{how}");
    }
}

#[test]
fn bcrypt_passwords_are_neither_truncated_nor_cut_at_nul() {
    let long = "x".repeat(73);
    for kept in [|text: &str| format!("{UNWRAPPED_PREFIX}{text}"), |text: &str| stored(text)] {
        let hash = kept(&bcrypt::hash(&long[..72], 4).unwrap());
        assert!(verify(&hash, &raw(&long[..72])));
        assert!(!verify(&hash, &raw(&long)));
        let hash = kept(&bcrypt::hash("ab", 4).unwrap());
        assert!(!verify(&hash, &raw("ab\0c")));
        // What bcrypt does not take is no empty hash either.
        let nothing = kept(&bcrypt::hash("", 4).unwrap());
        assert!(!verify(&nothing, &raw(&long)));
    }
}
