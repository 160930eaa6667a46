//! Verifiers of our own and from elsewhere, against vectors of other implementations.

use super::*;

const CHEAP: Cost = Cost { memory: 64, passes: 1, lanes: 1 };

fn hash(digest: &PasswordDigest, salt: &[u8; 16], cost: Cost) -> Option<String> {
    super::hash(digest, salt, cost, &mut Memory::default())
}

fn verify(stored: &str, secret: &Secret) -> bool {
    super::verify(stored, secret, &mut Memory::default())
}

fn raw(text: &str) -> Secret {
    Secret::Raw(RawPassword::new(text.to_owned()))
}

#[test]
fn ours_takes_the_password_and_its_digest() {
    let stored = hash(&raw("123456").digest(), &[7; 16], CHEAP).unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
    assert!(verify(&stored, &raw("123456")));
    assert!(verify(&stored, &Secret::Digest(raw("123456").digest())));
    assert!(!verify(&stored, &raw("1234567")));
    assert!(!verify(&stored, &raw("e10adc3949ba59abbe56e057f20f883e")), "D is not a password");
    assert!(is_current(&stored, CHEAP) && !is_current(&stored, Cost::default()));
}

#[test]
fn what_was_in_the_memory_does_not_matter() {
    let mut memory = Memory::default();
    for cost in [CHEAP, Cost { memory: 32, passes: 3, lanes: 4 }, Cost { memory: 256, passes: 2, lanes: 1 }, CHEAP] {
        let used = super::hash(&raw("123456").digest(), &[7; 16], cost, &mut memory).unwrap();
        assert_eq!(Some(&used), hash(&raw("123456").digest(), &[7; 16], cost).as_ref(), "{cost:?}");
        assert!(super::verify(&used, &raw("123456"), &mut memory));
        assert!(!super::verify(&used, &raw("wrong"), &mut memory));
    }
    assert_eq!(memory.size(), 256, "as much as the largest took");
}

#[test]
fn a_hash_is_replaced_by_one_that_is_as_hard_or_harder() {
    let of = |memory, passes| Cost { memory, passes, lanes: 1 };
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
        let replacement = replacement(&stored, asked);
        assert!(replacement.is_as_hard_as(before) && replacement.is_as_hard_as(asked));
        if let Some(after) = after {
            assert_eq!(replacement, after, "{before:?} {asked:?}");
        }
    }
    let lanes = Cost { lanes: 4, ..CHEAP };
    assert!(is_current(&stored(CHEAP), lanes) && is_current(&stored(lanes), CHEAP));
    // A hash from elsewhere says nothing about what ours should cost.
    let foreign = format!("{RAW}{}", stored(of(256, 2)));
    assert_eq!(replacement(&foreign, CHEAP), CHEAP);
}

#[test]
fn the_least_is_what_owasp_says() {
    let of = |memory, passes, lanes| Cost { memory, passes, lanes };
    assert!(Cost::default().is_strong() && Cost::MOST.is_strong() && Cost::MOST.is_bearable());
    for strong in [of(47_104, 1, 1), of(65_536, 1, 4), of(12_288, 3, 1), of(7_168, 16, 1)] {
        assert!(strong.is_strong(), "{strong:?}");
    }
    for weak in [of(47_103, 1, 1), of(19_455, 2, 1), of(7_167, 16, 1), of(7_168, 4, 1), of(0, 0, 0)] {
        assert!(!weak.is_strong(), "{weak:?}");
    }
    for unbearable in [of(262_145, 1, 1), of(19_456, 17, 1), of(19_456, 2, 17)] {
        assert!(!unbearable.is_bearable(), "{unbearable:?}");
    }
}

#[test]
fn what_is_not_computed_yet_makes_up_the_whole() {
    let cost = Cost { memory: 47_104, passes: 3, lanes: 1 };
    for done in [0, 64, 38_912, 100_000] {
        let rest = cost.rest(done).unwrap();
        assert!(rest.memory <= cost.memory && rest.work() + done <= cost.work());
        assert!(rest.work() + done > cost.work() - u64::from(cost.passes), "{done}");
    }
    assert_eq!(cost.rest(0), Some(cost));
    assert_eq!((cost.rest(cost.work()), cost.rest(u64::MAX)), (None, None));
}

/// Imports as `stele user add --hash-stdin` does.
fn stored(text: &str) -> String {
    match import(text).unwrap() {
        Imported::Digest(digest) => hash(&digest, &[7; 16], CHEAP).unwrap(),
        Imported::Strong(stored) => stored,
        Imported::Weak(weak) => wrap(&weak, &[7; 16], CHEAP, &mut Memory::default()).unwrap(),
    }
}

/// Hashes of `correct horse`, each made by another implementation: see tests/vectors/README.md.
fn vectors() -> impl Iterator<Item = &'static str> {
    include_str!("../tests/vectors/foreign.txt").lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn work_is_counted_only_where_it_is_done() {
    let ours = hash(&raw("123456").digest(), &[7; 16], CHEAP).unwrap();
    let digest = Secret::Digest(raw("123456").digest());
    assert_eq!((work(&ours, &digest), work(&ours, &raw("x"))), (64, 64));
    for foreign in [format!("{RAW}{ours}"), format!("{PHC}{ours}"), format!("{WRAPPED}$md5ps$00|{ours}")] {
        assert_eq!((work(&foreign, &digest), work(&foreign, &raw("x"))), (0, 64));
        assert_eq!(memory(&foreign), 64);
    }
    let twice =
        stored("$argon2i$v=19$m=256,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$Syv3W+wu0WQmcIO0T/vyAKG2GIggWAj9la1x01ew7wE");
    assert_eq!((work(&twice, &digest), work(&twice, &raw("x")), memory(&twice)), (0, 64 + 512, 256));
    let costly = ours.replace("m=64", "m=4194304");
    for stored in [costly.as_str(), "{raw}$md5ps$00$5f4dcc3b5aa765d61d8327deb882cf99", "", WRAPPED, RAW] {
        assert_eq!((work(stored, &raw("x")), memory(stored)), (0, 0), "{stored}");
    }
    assert_eq!(memory(&ours), 64);
}

#[test]
fn foreign_hashes_verify_the_password_only() {
    let mut seen = 0;
    for line in vectors() {
        let (wrapped, as_before) = (stored(line), format!("{RAW}{line}"));
        for stored in [&wrapped, &as_before] {
            assert!(verify(stored, &raw("correct horse")), "{stored}");
            assert!(!verify(stored, &raw("wrong")) && !verify(stored, &raw("")), "{stored}");
            assert!(!verify(stored, &Secret::Digest(raw("correct horse").digest())), "{stored}");
            assert!(is_foreign(stored) && !is_current(stored, CHEAP));
        }
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn nothing_cheaper_than_argon2id_rests() {
    for line in vectors() {
        let (stored, (how, secret)) = (stored(line), line.rsplit_once('$').unwrap());
        let secret = if line.starts_with("$2") { &secret[22..] } else { secret };
        let strong = line.starts_with("$argon2id$v=19$m=19456,t=2,p=1$");
        assert_eq!(stored.contains(secret), strong, "{stored}");
        let start = if strong { format!("{PHC}{how}$") } else { WRAPPED.to_owned() };
        assert!(stored.starts_with(&start), "{stored}");
        assert!(strong || stored.contains("|$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
    }
}

#[test]
fn a_plain_md5_is_the_digest_and_an_empty_salt_is_refused() {
    let digest = "3cb4e732631f47e6eb961f34554b7cde".to_uppercase();
    let Ok(Imported::Digest(read)) = import(&format!(" {digest}\n")) else { panic!("32 hex digits are D") };
    assert_eq!(read.hex().to_vec(), digest.to_lowercase().into_bytes());
    for kind in ["md5ps", "md5sp"] {
        let unsalted = format!("${kind}$${digest}");
        assert!(import(&unsalted).unwrap_err().contains("its 32 hex digits alone"), "{unsalted}");
        // What earlier builds took and kept as it came.
        let Some(Imported::Digest(kept)) = earlier(&format!("{RAW}{unsalted}")) else { panic!("it is D") };
        assert_eq!(kept.expose(), read.expose());
    }
}

#[test]
fn what_earlier_builds_imported_is_read_back() {
    for line in vectors() {
        let replaced = match earlier(&format!("{RAW}{line}")).unwrap() {
            Imported::Digest(_) => panic!("{line} is salted"),
            Imported::Strong(stored) => stored,
            Imported::Weak(weak) => wrap(&weak, &[7; 16], CHEAP, &mut Memory::default()).unwrap(),
        };
        assert_eq!(replaced, stored(line));
        assert!(earlier(&replaced).is_none(), "{replaced}");
    }
    let ours = hash(&raw("123456").digest(), &[7; 16], CHEAP).unwrap();
    for kept in [ours.as_str(), "", RAW, "{raw}$md5ps$zz$5f4dcc3b5aa765d61d8327deb882cf99", "{raw}$2b$05$short"] {
        assert!(earlier(kept).is_none(), "{kept}");
    }
}

#[test]
fn what_would_exhaust_the_machine_is_refused() {
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
        assert!(import(bad).is_err(), "{bad}");
    }
    // Nor is it computed where a row says so.
    let ours = hash(&raw("x").digest(), &[7; 16], CHEAP).unwrap();
    for how in ["$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$32", "$2b$31$LV2jmQQqha4qtlfpEuiSBO", "$md5ps$z", ""] {
        assert!(!verify(&format!("{WRAPPED}{how}|{ours}"), &raw("x")), "{how}");
    }
}

#[test]
fn bcrypt_neither_truncates_nor_stops_at_nul() {
    let long = "x".repeat(73);
    for kept in [|text: &str| format!("{RAW}{text}"), |text: &str| stored(text)] {
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
