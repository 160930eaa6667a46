//! Attack: fuzzing with malformed requests, derived from well-formed ones by a seeded random generator
//! (`docs/THREATS.md` 12, 18, 36, 37, 38, 40). A correct response has a status below 500 and grants nothing; where the
//! HTTP message itself is malformed, the server may also close the connection. The health check of each target looks
//! for panics.

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

/// The kind of malformation.
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

/// All kinds.
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
            Self::Truncated => "malformed: truncated bodies",
            Self::BitFlipped => "malformed: flipped bits in bodies",
            Self::Envelopes => "malformed: envelopes",
            Self::Base64 => "malformed: base64",
            Self::JsonBombs => "malformed: JSON bombs",
            Self::WrongTypes => "malformed: wrong types",
            Self::ExtremeNumbers => "malformed: huge numbers",
            Self::ExtremeTimes => "malformed: timestamps",
            Self::InvalidUtf8 => "malformed: invalid UTF-8",
            Self::WrongContentTypes => "malformed: content types",
            Self::Multipart => "malformed: multipart",
            Self::WrongFields => "malformed: missing and duplicate fields",
            Self::HostileTexts => "malformed: injection texts",
            Self::Headers => "malformed: headers",
            Self::Oversized => "malformed: oversized bodies",
            Self::Paths => "malformed: paths",
            Self::Framing => "malformed: framing",
        }
    }

    /// Whether the server may close the connection instead of sending a response.
    fn may_be_closed(self) -> bool {
        matches!(self, Self::Headers | Self::Oversized | Self::Paths | Self::Framing)
    }

    /// Whether each request needs its own connection. These come from many source addresses, since one has too few
    /// ports.
    fn needs_own_connection(self) -> bool {
        matches!(self, Self::Headers | Self::Oversized | Self::Framing)
    }
}

/// Sends malformed requests of one kind, and correct logins before and after them.
pub(crate) async fn send_malformed(
    options: &Options,
    name: &str,
    target: &Target,
    kind: Malformation,
) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    check_correct_logins(target, &mut result).await?;
    let result = RefCell::new(result);
    let statuses = RefCell::new(BTreeMap::<String, u64>::new());
    let build_request = |number: u64| {
        let (dialect, bytes) =
            build_malformed_request(target, kind, &mut SeededRng::new(options.seed, kind as u64, number));
        let [.., a, b] = (number % 60_000).to_be_bytes();
        let source = kind.needs_own_connection().then(|| IpAddr::V4(Ipv4Addr::new(127, 3, a, b)));
        BurstRequest { source, dialect, ..BurstRequest::new(target.gateway_address(number), bytes) }
    };
    send_burst(options, name, options.requests, build_request, |number, request, sent| {
        let mut result = result.borrow_mut();
        let is_accepted_close = |error: &std::io::Error| {
            use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            kind.may_be_closed() && matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
        };
        if sent.as_ref().err().is_some_and(is_accepted_close) {
            (result.sent, result.rejected) = (result.sent + 1, result.rejected + 1);
            *statuses.borrow_mut().entry("closed".to_owned()).or_default() += 1;
            return;
        }
        let status = sent.as_ref().map_or_else(|_| "none".to_owned(), |response| response.status.to_string());
        *statuses.borrow_mut().entry(status).or_default() += 1;
        let Some(response) = result.count(sent) else {
            if result.server_errors == 1 {
                result.note += &format!(" for request {number}: {}", escape_bytes(&request.bytes));
            }
            return;
        };
        if request.dialect.is_some_and(|dialect| target.client.parse_response(dialect, &response).is_success()) {
            result.let_through += 1;
            result.note = format!("request {number}: {}", escape_bytes(&request.bytes));
        } else {
            result.rejected += 1;
        }
    })
    .await;
    let mut result = result.into_inner();
    check_correct_logins(target, &mut result).await?;
    let statuses: Vec<_> = statuses.into_inner().iter().map(|(status, times)| format!("{status}: {times}")).collect();
    Ok(result.with_note(statuses.join(", ")))
}

/// Builds a malformed request. Returns it with the dialect to parse the response with, if a success would have an
/// effect.
fn build_malformed_request(target: &Target, kind: Malformation, rng: &mut SeededRng) -> (Option<DialectKind>, Vec<u8>) {
    match kind {
        Malformation::Framing => (None, framing::malformed_framing(target, rng)),
        Malformation::Headers => (None, framing::malformed_headers(target, rng)),
        Malformation::Paths => (None, framing::ambiguous_paths(target, rng)),
        _ => {
            let call = calls::random_call(rng);
            (
                call.has_effect_on_success.then_some(call.dialect),
                bodies::malformed_body(target, kind, call, rng).to_bytes(),
            )
        }
    }
}

/// Checks that every dialect accepts a correct login.
async fn check_correct_logins(target: &Target, result: &mut AttackResult) -> Result<()> {
    let user = target.fresh_user()?;
    for (index, dialect) in DialectKind::ALL.into_iter().enumerate() {
        let request = target.login_request(dialect, &user.phone, PASSWORD, target.fresh_client_address());
        let response = target.send(index as u64, &request).await?;
        result.require(
            &format!("{} serves", dialect.name()),
            target.client.parse_response(dialect, &response).is_success(),
        );
    }
    Ok(())
}

fn escape_bytes(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).escape_debug().collect();
    text.chars().take(400).collect()
}
