//! Envelopes that cannot be opened, each with another fault (`docs/THREATS.md` 17). All are as long.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stele_bench_kit::dialect::MEFP_LOGIN;
use stele_bench_kit::{DialectKind, MefpApp, ReleasePrograms, Result};

use crate::Options;
use crate::login::ServiceFixture;
use crate::report::{ComparisonPlan, Expectation, Report};

/// How many bytes are encrypted.
const PLAINTEXT_SIZE: usize = 96;

/// Neither a padding's length, nor one of the fillers that are taken for a padding, nor the end of a JSON object.
const BAD_PADDING: u8 = b'!';

/// Bytes that differ each time, so that nothing is found in a cache.
fn distinct_bytes<const N: usize>(number: u64) -> [u8; N] {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x2545_F491_4F6C_DD1D;
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

/// A login that could be read, in whole blocks, of which the last 15 bytes are `padding`.
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

/// What a padding oracle's user sends: a block of their own before one that they overheard, so that what is in it comes
/// out changed by what they wrote; with `last` for its last byte.
fn padding_oracle_probe(app: &MefpApp, number: u64, last: u8) -> Vec<u8> {
    // Whoever asks does not know the key. This does, and so has the answer it wants each time.
    let overheard = app.encrypt_blocks(&[distinct_bytes::<16>(number), distinct_bytes(!number)].concat());
    let opened = app.decrypt_blocks(&overheard);
    let mut own = distinct_bytes::<16>(number ^ 0x55);
    own[15] = overheard[15] ^ opened[31] ^ last;
    // The byte before must not make a padding of two out of it.
    own[14] = overheard[14] ^ opened[30] ^ 0x40;
    let blocks = [&own[..], &overheard[16..32]].concat();
    app.envelope(MEFP_LOGIN, &STANDARD.encode(blocks)).to_bytes()
}

pub(crate) fn compare_envelopes(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    if !(options.only.is_empty() || options.only.contains("17") || "17 ".contains(&options.only)) {
        return Ok(());
    }
    let scene = ServiceFixture::new(programs, DialectKind::Mefp, &[])?;
    let app = &scene.client.app;
    let text = |envelope: Vec<u8>| STANDARD.encode(envelope);
    // What all are compared with: a good message with a bad padding.
    let padding = |number: u64| encrypted_envelope(app, &padded_login(number, BAD_PADDING));
    let json = |number: u64| {
        let mut bad = padded_login(number, 15);
        bad[PLAINTEXT_SIZE - 16] = b']';
        encrypted_envelope(app, &bad)
    };
    let json_at_once = |number: u64| {
        let mut bad = padded_login(number, 15);
        bad[0] = b'!';
        encrypted_envelope(app, &bad)
    };
    let utf8 = |number: u64| {
        let mut bad = padded_login(number, 15);
        bad[70] = 0xff;
        encrypted_envelope(app, &bad)
    };
    let garbage =
        |number: u64| app.envelope(MEFP_LOGIN, &text(distinct_bytes::<PLAINTEXT_SIZE>(number).to_vec())).to_bytes();
    let length = |number: u64| {
        let mut sealed = app.encrypt_blocks(&padded_login(number, 15));
        // One byte less, and so that base64 is as long.
        sealed.pop();
        let padded = text(sealed);
        app.envelope(MEFP_LOGIN, &padded).to_bytes()
    };
    let base64 = |number: u64| {
        let mut bad = text(app.encrypt_blocks(&padded_login(number, 15)));
        bad.replace_range(60..61, "*");
        app.envelope(MEFP_LOGIN, &bad).to_bytes()
    };
    let stranger = |number: u64| {
        let mut other = app.clone();
        other.name = "melinq".to_owned();
        encrypted_envelope(&other, &padded_login(number, BAD_PADDING))
    };
    let right = |number: u64| padding_oracle_probe(app, number, 1);
    let wrong = |number: u64| padding_oracle_probe(app, number, 0x77);
    let again = |number: u64| encrypted_envelope(app, &padded_login(number + 1_000_003, BAD_PADDING));
    let short = |number: u64| app.envelope(MEFP_LOGIN, &text(distinct_bytes::<4_096>(number).to_vec())).to_bytes();
    let plan = |name: &str, first, second, must| ComparisonPlan {
        name: format!("17 mefp: {name}"),
        address: scene.process.address(),
        hashes_password: false,
        request_kinds: [first, second],
        follow_up: None,
        expectation: must,
    };
    type Kind<'a> = &'a dyn Fn(u64) -> Vec<u8>;
    let faults: [(&str, Kind<'_>); 7] = [
        ("padding, length", &length),
        ("padding, base64", &base64),
        ("padding, JSON at its end", &json),
        ("padding, JSON at its start", &json_at_once),
        ("padding, UTF-8", &utf8),
        ("padding, noise", &garbage),
        ("padding, unknown app", &stranger),
    ];
    report.compare(
        options,
        plan("an oracle's question: padding right, wrong", &right, &wrong, Expectation::Indistinguishable),
    )?;
    for (name, second) in faults {
        report.compare(options, plan(name, &padding, second, Expectation::Indistinguishable))?;
    }
    report.compare(options, plan("the same twice", &padding, &again, Expectation::Indistinguishable))?;
    report.compare(options, plan("control: 4 KiB to decrypt", &padding, &short, Expectation::Distinguishable))
}
