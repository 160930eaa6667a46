//! Timing side channels of MeFP's envelopes (`docs/THREATS.md` 17): a padding oracle, and other errors in envelopes of
//! the same length as one with invalid padding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stele_bench_kit::dialect::MEFP_LOGIN;
use stele_bench_kit::{DialectKind, MefpApp, ReleasePrograms, Result};

use crate::Options;
use crate::login::ServiceFixture;
use crate::report::{ComparisonPlan, Expectation, Report};
use crate::sample::RequestBuilder;

/// Length of a login message with padding, in bytes.
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

/// A valid login message with the byte at `position` replaced.
fn modified_login(number: u64, position: usize, byte: u8) -> Vec<u8> {
    let mut modified = padded_login(number, 15);
    modified[position] = byte;
    modified
}

/// A login request with `encrypted` in its envelope, encoded in base64.
fn envelope_with(app: &MefpApp, encrypted: &[u8]) -> Vec<u8> {
    app.envelope_request(MEFP_LOGIN, &STANDARD.encode(encrypted)).to_bytes()
}

/// A login request whose envelope decrypts to `blocks`.
fn encrypted_envelope(app: &MefpApp, blocks: &[u8]) -> Vec<u8> {
    envelope_with(app, &app.encrypt_blocks(blocks))
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
    envelope_with(app, &[&chosen[..], &captured[16..32]].concat())
}

pub(crate) fn compare_envelopes(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    if !(options.only.is_empty() || options.only.contains("17") || "17 ".contains(&options.only)) {
        return Ok(());
    }
    let fixture = ServiceFixture::new(programs, DialectKind::Mefp, &[])?;
    let app = &fixture.client.app;
    // The reference for all comparisons: a valid message with invalid padding.
    let invalid_padding = |number: u64| encrypted_envelope(app, &padded_login(number, BAD_PADDING));
    let invalid_json_end = |number: u64| encrypted_envelope(app, &modified_login(number, PLAINTEXT_SIZE - 16, b']'));
    let invalid_json_start = |number: u64| encrypted_envelope(app, &modified_login(number, 0, b'!'));
    let invalid_utf8 = |number: u64| encrypted_envelope(app, &modified_login(number, 70, 0xff));
    let random_bytes = |number: u64| envelope_with(app, &distinct_bytes::<PLAINTEXT_SIZE>(number));
    let partial_block = |number: u64| {
        let mut encrypted = app.encrypt_blocks(&padded_login(number, 15));
        // One byte less, which leaves the base64 length unchanged.
        encrypted.pop();
        envelope_with(app, &encrypted)
    };
    let invalid_base64 = |number: u64| {
        let mut modified = STANDARD.encode(app.encrypt_blocks(&padded_login(number, 15)));
        modified.replace_range(60..61, "*");
        app.envelope_request(MEFP_LOGIN, &modified).to_bytes()
    };
    let unknown_app = |number: u64| {
        let mut other = app.clone();
        other.name = "melinq".to_owned();
        encrypted_envelope(&other, &padded_login(number, BAD_PADDING))
    };
    let valid_probe = |number: u64| padding_oracle_probe(app, number, 1);
    let invalid_probe = |number: u64| padding_oracle_probe(app, number, 0x77);
    let invalid_padding_again = |number: u64| encrypted_envelope(app, &padded_login(number + 1_000_003, BAD_PADDING));
    let long_envelope = |number: u64| envelope_with(app, &distinct_bytes::<4_096>(number));
    let new_plan = |name: &str, first, second, expectation| ComparisonPlan {
        name: format!("17 mefp: {name}"),
        address: fixture.process.address(),
        hashes_password: false,
        request_kinds: [first, second],
        follow_up: None,
        expectation,
    };
    let faults: [(&str, RequestBuilder<'_>); 7] = [
        ("padding, length", &partial_block),
        ("padding, base64", &invalid_base64),
        ("padding, JSON at its end", &invalid_json_end),
        ("padding, JSON at its start", &invalid_json_start),
        ("padding, UTF-8", &invalid_utf8),
        ("padding, noise", &random_bytes),
        ("padding, unknown app", &unknown_app),
    ];
    report.compare(
        options,
        new_plan(
            "padding oracle probe: valid, invalid padding",
            &valid_probe,
            &invalid_probe,
            Expectation::Indistinguishable,
        ),
    )?;
    for (name, second) in faults {
        report.compare(options, new_plan(name, &invalid_padding, second, Expectation::Indistinguishable))?;
    }
    report.compare(
        options,
        new_plan("the same twice", &invalid_padding, &invalid_padding_again, Expectation::Indistinguishable),
    )?;
    report.compare(
        options,
        new_plan("control: 4 KiB to decrypt", &invalid_padding, &long_envelope, Expectation::Distinguishable),
    )
}
