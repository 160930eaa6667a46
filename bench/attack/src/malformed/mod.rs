//! Requests that nobody should send, ten thousand of each kind, made from good ones by chance that can be repeated
//! (`docs/THREATS.md` 12, 18, 36, 37, 38, 40). Right is an answer below 500 that grants nothing, or for faults of HTTP
//! itself a closed connection; in no case a panic, which the last row of each target looks for.

mod bodies;
mod calls;
mod chance;
mod framing;
mod sealed;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use stele_bench_kit::{Dialect, Result};

use crate::Options;
use crate::report::Row;
use crate::target::{Fleet, PASSWORD};
use crate::volley::{Shot, volley};
use chance::Chance;

/// What is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Truncated,
    Flipped,
    Envelopes,
    Base64,
    Bombs,
    Types,
    Numbers,
    Times,
    Utf8,
    ContentTypes,
    Multipart,
    Fields,
    Texts,
    Headers,
    Large,
    Paths,
    Framing,
}

/// All of them.
pub(crate) const KINDS: &[Kind] = &[
    Kind::Truncated,
    Kind::Flipped,
    Kind::Envelopes,
    Kind::Base64,
    Kind::Bombs,
    Kind::Types,
    Kind::Numbers,
    Kind::Times,
    Kind::Utf8,
    Kind::ContentTypes,
    Kind::Multipart,
    Kind::Fields,
    Kind::Texts,
    Kind::Headers,
    Kind::Large,
    Kind::Paths,
    Kind::Framing,
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Truncated => "malformed: bodies cut short",
            Self::Flipped => "malformed: bits flipped in bodies",
            Self::Envelopes => "malformed: envelopes",
            Self::Base64 => "malformed: base64",
            Self::Bombs => "malformed: bombs of JSON",
            Self::Types => "malformed: wrong types",
            Self::Numbers => "malformed: huge numbers",
            Self::Times => "malformed: timestamps",
            Self::Utf8 => "malformed: not UTF-8",
            Self::ContentTypes => "malformed: content types",
            Self::Multipart => "malformed: multipart",
            Self::Fields => "malformed: fields missing and doubled",
            Self::Texts => "malformed: texts that mean something elsewhere",
            Self::Headers => "malformed: headers",
            Self::Large => "malformed: too large",
            Self::Paths => "malformed: paths",
            Self::Framing => "malformed: framing",
        }
    }

    /// A server may close instead of answering.
    fn may_close(self) -> bool {
        matches!(self, Self::Headers | Self::Large | Self::Paths | Self::Framing)
    }

    /// Each needs a connection of its own. They come from many addresses, or the system would run out of ports.
    fn closes(self) -> bool {
        matches!(self, Self::Headers | Self::Large | Self::Framing)
    }
}

/// Sends them.
pub(crate) async fn send(options: &Options, name: &str, fleet: &Fleet, kind: Kind) -> Result<Row> {
    let mut before = Row::new(name, fleet);
    works(fleet, &mut before).await?;
    let row = RefCell::new(before);
    let statuses = RefCell::new(BTreeMap::<String, u64>::new());
    let shot = |number: u64| {
        let (dialect, bytes) = make(fleet, kind, &mut Chance::new(options.seed, kind as u64, number));
        let [.., a, b] = (number % 60_000).to_be_bytes();
        let from = kind.closes().then(|| IpAddr::V4(Ipv4Addr::new(127, 3, a, b)));
        Shot { from, dialect, ..Shot::new(fleet.front(number), bytes) }
    };
    volley(options, name, options.requests, shot, |number, shot, sent| {
        let mut row = row.borrow_mut();
        let closed = |error: &std::io::Error| {
            use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            kind.may_close() && matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
        };
        if sent.as_ref().err().is_some_and(closed) {
            (row.tried, row.refused) = (row.tried + 1, row.refused + 1);
            *statuses.borrow_mut().entry("closed".to_owned()).or_default() += 1;
            return;
        }
        let status = sent.as_ref().map_or_else(|_| "none".to_owned(), |answer| answer.status.to_string());
        *statuses.borrow_mut().entry(status).or_default() += 1;
        let Some(answer) = row.count(sent) else {
            if row.faults == 1 {
                row.note += &format!(" for number {number}: {}", shown(&shot.bytes));
            }
            return;
        };
        if shot.dialect.is_some_and(|dialect| fleet.caller.read(dialect, &answer).is_done()) {
            row.through += 1;
            row.note = format!("number {number}: {}", shown(&shot.bytes));
        } else {
            row.refused += 1;
        }
    })
    .await;
    let mut row = row.into_inner();
    works(fleet, &mut row).await?;
    let statuses: Vec<_> = statuses.into_inner().iter().map(|(status, times)| format!("{status}: {times}")).collect();
    Ok(row.noted(statuses.join(", ")))
}

/// A request, and in which dialect a success would be one: calls that open or change something are made so that they
/// must not succeed; others are not looked at.
fn make(fleet: &Fleet, kind: Kind, chance: &mut Chance) -> (Option<Dialect>, Vec<u8>) {
    match kind {
        Kind::Framing => (None, framing::faulty(fleet, chance)),
        Kind::Headers => (None, framing::headers(fleet, chance)),
        Kind::Paths => (None, framing::paths(fleet, chance)),
        _ => {
            let call = calls::any(chance);
            (call.opens.then_some(call.dialect), bodies::faulty(fleet, kind, call, chance).bytes())
        }
    }
}

/// Good requests are served beside all this, in every dialect.
async fn works(fleet: &Fleet, row: &mut Row) -> Result<()> {
    let person = fleet.person()?;
    for (turn, dialect) in Dialect::ALL.into_iter().enumerate() {
        let request = fleet.login(dialect, &person.phone, PASSWORD, fleet.newcomer());
        let answer = fleet.ask(turn as u64, &request).await?;
        row.works(&format!("{} serves", dialect.name()), fleet.caller.read(dialect, &answer).is_done());
    }
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).escape_debug().collect();
    text.chars().take(400).collect()
}
