//! Requests that nobody should send, ten thousand of each kind, made from good ones by chance that can be repeated
//! (`docs/THREATS.md` 12, 18, 36, 37, 38, 40). Right is an answer below 500 that grants nothing, or for faults of HTTP
//! itself a closed connection; in no case a panic, which the last row of each target looks for.

mod bodies;
mod calls;
mod envelopes;
mod framing;
mod seeded_rng;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use stele_bench_kit::{DialectKind, Result};

use crate::Options;
use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{PASSWORD, Target};
use seeded_rng::SeededRng;

/// What is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformation {
    Truncated,
    BitFlipped,
    Envelopes,
    Base64,
    JsonBombs,
    WrongTypes,
    ExtremeNumbers,
    ExtremeTimes,
    InvalidUtf8,
    WrongContentTypes,
    Multipart,
    WrongFields,
    HostileTexts,
    Headers,
    Oversized,
    Paths,
    Framing,
}

/// All of them.
pub(crate) const MALFORMATIONS: &[Malformation] = &[
    Malformation::Truncated,
    Malformation::BitFlipped,
    Malformation::Envelopes,
    Malformation::Base64,
    Malformation::JsonBombs,
    Malformation::WrongTypes,
    Malformation::ExtremeNumbers,
    Malformation::ExtremeTimes,
    Malformation::InvalidUtf8,
    Malformation::WrongContentTypes,
    Malformation::Multipart,
    Malformation::WrongFields,
    Malformation::HostileTexts,
    Malformation::Headers,
    Malformation::Oversized,
    Malformation::Paths,
    Malformation::Framing,
];

impl Malformation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Truncated => "malformed: bodies cut short",
            Self::BitFlipped => "malformed: bits flipped in bodies",
            Self::Envelopes => "malformed: envelopes",
            Self::Base64 => "malformed: base64",
            Self::JsonBombs => "malformed: bombs of JSON",
            Self::WrongTypes => "malformed: wrong types",
            Self::ExtremeNumbers => "malformed: huge numbers",
            Self::ExtremeTimes => "malformed: timestamps",
            Self::InvalidUtf8 => "malformed: not UTF-8",
            Self::WrongContentTypes => "malformed: content types",
            Self::Multipart => "malformed: multipart",
            Self::WrongFields => "malformed: fields missing and doubled",
            Self::HostileTexts => "malformed: texts that mean something elsewhere",
            Self::Headers => "malformed: headers",
            Self::Oversized => "malformed: too large",
            Self::Paths => "malformed: paths",
            Self::Framing => "malformed: framing",
        }
    }

    /// A server may close instead of answering.
    fn closing_is_accepted(self) -> bool {
        matches!(self, Self::Headers | Self::Oversized | Self::Paths | Self::Framing)
    }

    /// Each needs a connection of its own. They come from many addresses, or the system would run out of ports.
    fn needs_own_connection(self) -> bool {
        matches!(self, Self::Headers | Self::Oversized | Self::Framing)
    }
}

/// Sends them.
pub(crate) async fn send_malformed(
    options: &Options,
    name: &str,
    fleet: &Target,
    kind: Malformation,
) -> Result<AttackResult> {
    let mut before = AttackResult::new(name, fleet);
    check_valid_requests(fleet, &mut before).await?;
    let row = RefCell::new(before);
    let statuses = RefCell::new(BTreeMap::<String, u64>::new());
    let shot = |number: u64| {
        let (dialect, bytes) = make_request(fleet, kind, &mut SeededRng::new(options.seed, kind as u64, number));
        let [.., a, b] = (number % 60_000).to_be_bytes();
        let from = kind.needs_own_connection().then(|| IpAddr::V4(Ipv4Addr::new(127, 3, a, b)));
        BurstRequest { from, dialect, ..BurstRequest::new(fleet.entry_address(number), bytes) }
    };
    send_burst(options, name, options.requests, shot, |number, shot, sent| {
        let mut row = row.borrow_mut();
        let closed = |error: &std::io::Error| {
            use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            kind.closing_is_accepted() && matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
        };
        if sent.as_ref().err().is_some_and(closed) {
            (row.sent, row.rejected) = (row.sent + 1, row.rejected + 1);
            *statuses.borrow_mut().entry("closed".to_owned()).or_default() += 1;
            return;
        }
        let status = sent.as_ref().map_or_else(|_| "none".to_owned(), |answer| answer.status.to_string());
        *statuses.borrow_mut().entry(status).or_default() += 1;
        let Some(answer) = row.count(sent) else {
            if row.server_errors == 1 {
                row.note += &format!(" for number {number}: {}", escape_bytes(&shot.bytes));
            }
            return;
        };
        if shot.dialect.is_some_and(|dialect| fleet.client.parse_response(dialect, &answer).is_success()) {
            row.let_through += 1;
            row.note = format!("number {number}: {}", escape_bytes(&shot.bytes));
        } else {
            row.rejected += 1;
        }
    })
    .await;
    let mut row = row.into_inner();
    check_valid_requests(fleet, &mut row).await?;
    let statuses: Vec<_> = statuses.into_inner().iter().map(|(status, times)| format!("{status}: {times}")).collect();
    Ok(row.with_note(statuses.join(", ")))
}

/// A request, and in which dialect a success would be one: calls that open or change something are made so that they
/// must not succeed; others are not looked at.
fn make_request(fleet: &Target, kind: Malformation, chance: &mut SeededRng) -> (Option<DialectKind>, Vec<u8>) {
    match kind {
        Malformation::Framing => (None, framing::malformed_framing(fleet, chance)),
        Malformation::Headers => (None, framing::malformed_headers(fleet, chance)),
        Malformation::Paths => (None, framing::ambiguous_paths(fleet, chance)),
        _ => {
            let call = calls::random_call(chance);
            (
                call.has_effect_on_success.then_some(call.dialect),
                bodies::malformed_body(fleet, kind, call, chance).to_bytes(),
            )
        }
    }
}

/// Good requests are served beside all this, in every dialect.
async fn check_valid_requests(fleet: &Target, row: &mut AttackResult) -> Result<()> {
    let person = fleet.fresh_user()?;
    for (turn, dialect) in DialectKind::ALL.into_iter().enumerate() {
        let request = fleet.login_request(dialect, &person.phone, PASSWORD, fleet.fresh_client_address());
        let answer = fleet.request(turn as u64, &request).await?;
        row.require(&format!("{} serves", dialect.name()), fleet.client.parse_response(dialect, &answer).is_success());
    }
    Ok(())
}

fn escape_bytes(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).escape_debug().collect();
    text.chars().take(400).collect()
}
