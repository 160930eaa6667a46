//! `stele audit`: prints entries of the audit log.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use stele_app::context;
use stele_core::Error;
use stele_core::audit_log::{AuditLogEntry, AuditLogFilter, AuditLogOrder, SUPPRESSED_FAILURES};
use stele_core::event::Outcome;
use stele_core::origin::Origin;
use stele_core::time::Offset;
use stele_core::usecase::administration::Administration;
use stele_core::user::UserRef;
use stele_service::Settings;

use super::{CommandError, escape_cell, print_listing_line};
use crate::args::{AuditOptions, When};

/// Entries per query.
const PAGE_SIZE: u32 = 1_000;
/// The default of `--since`.
const DEFAULT_SINCE: When = When::Ago(Duration::from_secs(86_400));

pub(crate) async fn run(settings: &Settings, options: AuditOptions) -> Result<(), CommandError> {
    let (administration, _) = context::open_administration(settings).await?;
    let subject = match (&options.user, &options.subject) {
        (None, name) => name.clone(),
        // The entries of a deleted user can still be found by the user's id.
        (Some(user_text), _) => Some(match (administration.find_user(user_text).await, UserRef::parse(user_text)) {
            (Ok(user), _) => user.id.to_string(),
            (Err(Error::UnknownUser), Some(UserRef::Id(id))) => id.to_string(),
            (Err(error), _) => return Err(error.into()),
        }),
    };
    let now = administration.now();
    let since = if options.all { None } else { Some(options.since.unwrap_or(DEFAULT_SINCE).resolve(now)) };
    let filter = AuditLogFilter {
        since,
        until: options.until.map(|until| until.resolve(now)),
        actions: options.actions,
        results: options.result,
        excluded_results: if options.failed { vec![Outcome::Done.as_str().to_owned()] } else { Vec::new() },
        dialects: options.dialect,
        app: options.app,
        subject,
        address: exact_ipv4(options.address).map(|address| address.to_string()),
        request: options.request,
    };
    let format_entry = if options.json { |entry: &AuditLogEntry| to_json(entry).to_string() } else { format_line };
    let query = AuditQuery { filter, network: options.address.filter(|_| exact_ipv4(options.address).is_none()) };
    match options.last {
        None => print_oldest_first(&administration, &query, format_entry).await,
        Some(count) => print_last(&administration, &query, count, format_entry).await,
    }
}

/// The address if it is IPv4 (or IPv4-mapped). For an IPv6 address, entries of its whole /64 are searched, because
/// failures from one /64 are merged under one address.
fn exact_ipv4(address: Option<IpAddr>) -> Option<IpAddr> {
    address.map(|address| address.to_canonical()).filter(IpAddr::is_ipv4)
}

/// The conditions that an entry must meet to be printed.
struct AuditQuery {
    /// Conditions that the store evaluates.
    filter: AuditLogFilter,
    /// If set, only entries from the /64 of this IPv6 address. The store cannot filter by a network.
    network: Option<IpAddr>,
}

impl AuditQuery {
    fn matches(&self, entry: &AuditLogEntry) -> bool {
        self.network.is_none_or(|network| {
            let address = entry.address.as_deref().and_then(|address| address.parse().ok());
            address.is_some_and(|address| Origin::from_address(address) == Origin::from_address(network))
        })
    }
}

async fn print_oldest_first(
    administration: &Administration,
    query: &AuditQuery,
    format_entry: fn(&AuditLogEntry) -> String,
) -> Result<(), CommandError> {
    let mut after = None;
    loop {
        let page = administration.audit_log(&query.filter, AuditLogOrder::OldestFirst, after, PAGE_SIZE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for entry in page.iter().filter(|entry| query.matches(entry)) {
            print_listing_line(&format_entry(entry))?;
        }
    }
}

async fn print_last(
    administration: &Administration,
    query: &AuditQuery,
    count: u32,
    format_entry: fn(&AuditLogEntry) -> String,
) -> Result<(), CommandError> {
    let count = usize::try_from(count).map_err(Error::internal)?;
    let (mut lines, mut after) = (Vec::new(), None);
    while lines.len() < count {
        let page = administration.audit_log(&query.filter, AuditLogOrder::NewestFirst, after, PAGE_SIZE).await?;
        let Some(oldest) = page.last() else { break };
        after = Some(oldest.id);
        lines.extend(page.iter().filter(|entry| query.matches(entry)).map(format_entry));
    }
    lines.truncate(count);
    lines.iter().rev().try_for_each(|line| print_listing_line(line))
}

/// One tab-separated line for people, with a dash for a missing value. The time of a merged entry is that of its last
/// event.
fn format_line(entry: &AuditLogEntry) -> String {
    let at = entry.id.at.to_rfc3339(Offset::UTC);
    let action = match entry.proof.as_deref().or(entry.purpose.as_deref()) {
        Some(detail) => format!("{}({detail})", entry.action),
        None => entry.action.to_string(),
    };
    let result = match (entry.count, entry.first_at) {
        (1, _) => entry.result.to_string(),
        (count, None) => format!("{}×{count}", entry.result),
        (count, Some(first)) => format!("{}×{count} since {}", entry.result, first.to_rfc3339(Offset::UTC)),
    };
    let entry_point = match (&entry.dialect, &entry.app, &entry.operator) {
        (Some(dialect), Some(app), _) => format!("{dialect}/{app}"),
        (Some(dialect), None, _) => dialect.to_string(),
        (None, _, Some(operator)) => operator.clone(),
        (None, Some(app), None) => format!("-/{app}"),
        (None, None, None) => "-".to_owned(),
    };
    let or_dash = |text: &Option<String>| escape_cell(text.as_deref().unwrap_or("-")).into_owned();
    let (subject, request) = (or_dash(&entry.subject), or_dash(&entry.request));
    let address = match entry.origins {
        Some(origins) if entry.action == SUPPRESSED_FAILURES => format!("{origins} origins"),
        _ => or_dash(&entry.address),
    };
    let entry_point = escape_cell(&entry_point);
    format!("{at}\t{action}\t{result}\t{entry_point}\t{subject}\t{address}\t{request}")
}

fn to_json(entry: &AuditLogEntry) -> Value {
    json!({
        "id": format!("{:x}-{}", entry.id.source, entry.id.seq),
        "at": entry.id.at.to_rfc3339(Offset::UTC),
        "first": entry.first_at.map(|first| first.to_rfc3339(Offset::UTC)),
        "act": entry.action,
        "proof": entry.proof,
        "purpose": entry.purpose,
        "result": entry.result,
        "times": entry.count,
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
