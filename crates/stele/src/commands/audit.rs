//! `stele audit`.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use stele_app::context;
use stele_core::Error;
use stele_core::event::Outcome;
use stele_core::origin::Origin;
use stele_core::time::Offset;
use stele_core::trail::{Entry, Filter, NOT_KEPT, Order};
use stele_core::usecase::administration::Administration;
use stele_core::user::UserRef;
use stele_service::Settings;

use super::{CommandError, cell, say_next};
use crate::args::{Audit, When};

/// How many entries are read at once.
const PAGE: u32 = 1_000;
/// How far back it is looked where nothing is said.
const LATELY: When = When::Ago(Duration::from_secs(86_400));

pub(crate) async fn run(settings: &Settings, command: Audit) -> Result<(), CommandError> {
    let (administration, _) = context::administration(settings).await?;
    let subject = match (&command.user, &command.subject) {
        (None, name) => name.clone(),
        // Whoever is not there any more is in the trail by their id.
        (Some(text), _) => Some(match (administration.find_user(text).await, UserRef::parse(text)) {
            (Ok(user), _) => user.id.to_string(),
            (Err(Error::UnknownUser), Some(UserRef::Id(id))) => id.to_string(),
            (Err(error), _) => return Err(error.into()),
        }),
    };
    let now = administration.now();
    let since = if command.all { None } else { Some(command.since.unwrap_or(LATELY).from(now)) };
    let filter = Filter {
        since,
        until: command.until.map(|until| until.from(now)),
        acts: command.act,
        results: command.result,
        but_results: if command.failed { vec![Outcome::Done.as_str().to_owned()] } else { Vec::new() },
        dialects: command.dialect,
        app: command.app,
        subject,
        address: exact(command.address).map(|address| address.to_string()),
        request: command.request,
    };
    let show = if command.json { |entry: &Entry| describe(entry).to_string() } else { line };
    let search = Search { filter, network: command.address.filter(|_| exact(command.address).is_none()) };
    match command.last {
        None => forward(&administration, &search, show).await,
        Some(last) => backward(&administration, &search, last, show).await,
    }
}

/// An IPv4 address. Failures from an IPv6 /64 are merged, with one address of it: all of the /64 is looked at.
fn exact(address: Option<IpAddr>) -> Option<IpAddr> {
    address.map(|address| address.to_canonical()).filter(IpAddr::is_ipv4)
}

/// What to find.
struct Search {
    filter: Filter,
    /// Only from the /64 of this address.
    network: Option<IpAddr>,
}

impl Search {
    fn finds(&self, entry: &Entry) -> bool {
        self.network.is_none_or(|network| {
            let address = entry.address.as_deref().and_then(|address| address.parse().ok());
            address.is_some_and(|address| Origin::address(address) == Origin::address(network))
        })
    }
}

async fn forward(
    administration: &Administration,
    search: &Search,
    show: fn(&Entry) -> String,
) -> Result<(), CommandError> {
    let mut after = None;
    loop {
        let page = administration.trail(&search.filter, Order::OldestFirst, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for entry in page.iter().filter(|entry| search.finds(entry)) {
            say_next(&show(entry))?;
        }
    }
}

async fn backward(
    administration: &Administration,
    search: &Search,
    last: u32,
    show: fn(&Entry) -> String,
) -> Result<(), CommandError> {
    let last = usize::try_from(last).map_err(Error::internal)?;
    let (mut lines, mut after) = (Vec::new(), None);
    while lines.len() < last {
        let page = administration.trail(&search.filter, Order::NewestFirst, after, PAGE).await?;
        let Some(oldest) = page.last() else { break };
        after = Some(oldest.id);
        lines.extend(page.iter().filter(|entry| search.finds(entry)).map(show));
    }
    lines.truncate(last);
    lines.iter().rev().try_for_each(|line| say_next(line))
}

/// For people: what is not known is a dash. Of several events, the time is the last one's.
fn line(entry: &Entry) -> String {
    let at = entry.id.at.rfc3339(Offset::UTC);
    let act = match entry.proof.as_deref().or(entry.purpose.as_deref()) {
        Some(how) => format!("{}({how})", entry.act),
        None => entry.act.to_string(),
    };
    let result = match (entry.times, entry.first_at) {
        (1, _) => entry.result.to_string(),
        (times, None) => format!("{}×{times}", entry.result),
        (times, Some(first)) => format!("{}×{times} since {}", entry.result, first.rfc3339(Offset::UTC)),
    };
    let door = match (&entry.dialect, &entry.app, &entry.operator) {
        (Some(dialect), Some(app), _) => format!("{dialect}/{app}"),
        (Some(dialect), None, _) => dialect.to_string(),
        (None, _, Some(operator)) => operator.clone(),
        (None, Some(app), None) => format!("-/{app}"),
        (None, None, None) => "-".to_owned(),
    };
    let or_dash = |text: &Option<String>| cell(text.as_deref().unwrap_or("-")).into_owned();
    let (subject, request) = (or_dash(&entry.subject), or_dash(&entry.request));
    let address = match entry.origins {
        Some(origins) if entry.act == NOT_KEPT => format!("{origins} origins"),
        _ => or_dash(&entry.address),
    };
    let door = cell(&door);
    format!("{at}\t{act}\t{result}\t{door}\t{subject}\t{address}\t{request}")
}

fn describe(entry: &Entry) -> Value {
    json!({
        "id": format!("{:x}-{}", entry.id.source, entry.id.seq),
        "at": entry.id.at.rfc3339(Offset::UTC),
        "first": entry.first_at.map(|first| first.rfc3339(Offset::UTC)),
        "act": entry.act,
        "proof": entry.proof,
        "purpose": entry.purpose,
        "result": entry.result,
        "times": entry.times,
        "origins": entry.origins,
        "dialect": entry.dialect,
        "app": entry.app,
        "subject_kind": entry.subject_kind,
        "subject": entry.subject,
        "address": entry.address,
        "request": entry.request,
        "operator": entry.operator,
    })
}
