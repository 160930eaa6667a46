//! Timing of envelopes with different errors (`docs/THREATS.md` 17), all of the same length.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stele_bench_kit::dialect::MEFP_LOGIN;
use stele_bench_kit::{DialectKind, MefpApp, ReleasePrograms, Result};

use crate::Options;
use crate::login::ServiceFixture;
use crate::report::{ComparisonPlan, Expectation, Report};

/// Plaintext length, in bytes.
const PLAINTEXT_SIZE: usize = 96;

/// Invalid as PKCS#7 padding, as a filler that is accepted as padding, and as the end of a JSON object.
const BAD_PADDING: u8 = b'!';

/// Bytes that differ for each `number`, so that no cache helps.
fn distinct_bytes<const N: usize>(number: u64) -> [u8; N] {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x2545_F491_4F6C_DD1D;
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

/// A valid login message in whole blocks, whose last 15 bytes are `padding`.
fn padded_login(number: u64, padding: u8) -> Vec<u8> {
    let mut text = format!(r#"{{"login_name":"13800138000","password":"guess-{number:08}","filler":""#).into_bytes();
    let end = b"\"}";
    text.resize(PLAINTEXT_SIZE - 15 - end.len(), b'x');
    text.extend_from_slice(end);
    text.resize(PLAINTEXT_SIZE, padding);
    text
}

fn encrypted_envelope(app: &MefpApp, blocks: &[u8]) -> Vec<u8> {
    app.envelope(MEFP_LOGIN, &STANDARD.encode(app.encrypt_blocks(blocks))).to_bytes()
}

/// A padding oracle probe: a chosen block before a captured one, so that the captured block decrypts to a modified
/// plaintext that ends in the byte `last`.
fn padding_oracle_probe(app: &MefpApp, number: u64, last: u8) -> Vec<u8> {
    // An attacker does not know the key. This function does, so that each probe has the intended result.
    let captured = app.encrypt_blocks(&[distinct_bytes::<16>(number), distinct_bytes(!number)].concat());
    let plaintext = app.decrypt_blocks(&captured);
    let mut chosen = distinct_bytes::<16>(number ^ 0x55);
    chosen[15] = captured[15] ^ plaintext[31] ^ last;
    // The byte before must not form a valid padding of two bytes.
    chosen[14] = captured[14] ^ plaintext[30] ^ 0x40;
    let blocks = [&chosen[..], &captured[16..32]].concat();
    app.envelope(MEFP_LOGIN, &STANDARD.encode(blocks)).to_bytes()
}

pub(crate) fn compare_envelopes(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    if !(options.only.is_empty() || options.only.contains("17") || "17 ".contains(&options.only)) {
        return Ok(());
    }
    let fixture = ServiceFixture::new(programs, DialectKind::Mefp, &[])?;
    let app = &fixture.client.app;
    let text = |envelope: Vec<u8>| STANDARD.encode(envelope);
    // The reference for all comparisons: a valid message with invalid padding.
    let padding = |number: u64| encrypted_envelope(app, &padded_login(number, BAD_PADDING));
    let json = |number: u64| {
        let mut modified = padded_login(number, 15);
        modified[PLAINTEXT_SIZE - 16] = b']';
        encrypted_envelope(app, &modified)
    };
    let json_at_once = |number: u64| {
        let mut modified = padded_login(number, 15);
        modified[0] = b'!';
        encrypted_envelope(app, &modified)
    };
    let utf8 = |number: u64| {
        let mut modified = padded_login(number, 15);
        modified[70] = 0xff;
        encrypted_envelope(app, &modified)
    };
    let noise =
        |number: u64| app.envelope(MEFP_LOGIN, &text(distinct_bytes::<PLAINTEXT_SIZE>(number).to_vec())).to_bytes();
    let length = |number: u64| {
        let mut encrypted = app.encrypt_blocks(&padded_login(number, 15));
        // One byte less, which leaves the base64 length unchanged.
        encrypted.pop();
        let padded = text(encrypted);
        app.envelope(MEFP_LOGIN, &padded).to_bytes()
    };
    let base64 = |number: u64| {
        let mut modified = text(app.encrypt_blocks(&padded_login(number, 15)));
        modified.replace_range(60..61, "*");
        app.envelope(MEFP_LOGIN, &modified).to_bytes()
    };
    let unknown_app = |number: u64| {
        let mut other = app.clone();
        other.name = "melinq".to_owned();
        encrypted_envelope(&other, &padded_login(number, BAD_PADDING))
    };
    let valid_probe = |number: u64| padding_oracle_probe(app, number, 1);
    let invalid_probe = |number: u64| padding_oracle_probe(app, number, 0x77);
    let again = |number: u64| encrypted_envelope(app, &padded_login(number + 1_000_003, BAD_PADDING));
    let short = |number: u64| app.envelope(MEFP_LOGIN, &text(distinct_bytes::<4_096>(number).to_vec())).to_bytes();
    let plan = |name: &str, first, second, expectation| ComparisonPlan {
        name: format!("17 mefp: {name}"),
        address: fixture.process.address(),
        hashes_password: false,
        request_kinds: [first, second],
        follow_up: None,
        expectation,
    };
    type Kind<'a> = &'a dyn Fn(u64) -> Vec<u8>;
    let faults: [(&str, Kind<'_>); 7] = [
        ("padding, length", &length),
        ("padding, base64", &base64),
        ("padding, JSON at its end", &json),
        ("padding, JSON at its start", &json_at_once),
        ("padding, UTF-8", &utf8),
        ("padding, noise", &noise),
        ("padding, unknown app", &unknown_app),
    ];
    report.compare(
        options,
        plan(
            "padding oracle probe: valid, invalid padding",
            &valid_probe,
            &invalid_probe,
            Expectation::Indistinguishable,
        ),
    )?;
    for (name, second) in faults {
        report.compare(options, plan(name, &padding, second, Expectation::Indistinguishable))?;
    }
    report.compare(options, plan("the same twice", &padding, &again, Expectation::Indistinguishable))?;
    report.compare(options, plan("control: 4 KiB to decrypt", &padding, &short, Expectation::Distinguishable))
}
