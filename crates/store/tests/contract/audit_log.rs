//! Audit log: appending in batches, filters, pagination and purging by age.

use std::borrow::Cow;

use stele_core::audit_log::{AuditLogEntry, AuditLogEntryId, AuditLogFilter, AuditLogOrder};
use stele_core::time::Timestamp;

use crate::support::*;

pub(crate) fn audit_entry(second: u64, seq: i64) -> AuditLogEntry {
    AuditLogEntry {
        id: AuditLogEntryId { at: NOW.saturating_add(secs(second)), source: 5, seq },
        first_at: None,
        action: "login".into(),
        proof: Some("salted".into()),
        purpose: None,
        result: "ok".into(),
        count: 1,
        origins: None,
        dialect: Some("tms".into()),
        app: None,
        subject_kind: Some("user".into()),
        subject: Some(format!("user-{seq}")),
        address: Some("192.0.2.1".to_owned()),
        request: Some(format!("r{seq}")),
        operator: None,
        dialect_use: None,
    }
}

fn seqs(entries: &[AuditLogEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.id.seq).collect()
}

#[tokio::test]
async fn entries_are_read_in_order_without_duplicates() {
    for UserBackend { name, audit_log, .. } in user_backends().await {
        let sparse = AuditLogEntry {
            proof: None,
            dialect: None,
            subject_kind: None,
            subject: None,
            address: None,
            request: None,
            operator: Some("uid:0@host".to_owned()),
            purpose: Some(Cow::Borrowed("reset")),
            app: Some("melink".to_owned()),
            count: 7,
            first_at: Some(NOW),
            origins: Some(4),
            ..audit_entry(2, 3)
        };
        // The entries are out of order, and two have the same time.
        let all = [audit_entry(1, 2), sparse, audit_entry(0, 1), audit_entry(2, 4)];
        audit_log.append(&all).await.unwrap();
        let changed = AuditLogEntry { action: "logout".into(), ..audit_entry(0, 1) };
        audit_log.append(&[changed, audit_entry(3, 5)]).await.unwrap();
        audit_log.append(&[]).await.unwrap();

        let found = audit_log.list(&AuditLogFilter::default(), AuditLogOrder::OldestFirst, None, 10).await.unwrap();
        assert_eq!(seqs(&found), [1, 2, 3, 4, 5], "{name}");
        assert_eq!((&found[0], &found[2]), (&all[2], &all[1]), "{name}: the first entry with an id is stored");
        for order in [AuditLogOrder::OldestFirst, AuditLogOrder::NewestFirst] {
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let page = audit_log.list(&AuditLogFilter::default(), order, after, 2).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.id);
                paged.extend(seqs(&page));
            }
            if order == AuditLogOrder::NewestFirst {
                paged.reverse();
            }
            assert_eq!(paged, [1, 2, 3, 4, 5], "{name} {order:?}");
        }
    }
}

#[tokio::test]
async fn a_batch_of_thousands_is_appended_completely() {
    for UserBackend { name, audit_log, .. } in user_backends().await {
        let all: Vec<AuditLogEntry> = (0..2_500).map(|n| audit_entry(n, i64::try_from(n).unwrap())).collect();
        audit_log.append(&all).await.unwrap();
        let found = audit_log.list(&AuditLogFilter::default(), AuditLogOrder::OldestFirst, None, 5_000).await.unwrap();
        assert_eq!(found, all, "{name}");
    }
}

#[tokio::test]
async fn every_filter_restricts_the_result() {
    for UserBackend { name, audit_log, .. } in user_backends().await {
        audit_log.append(&(0..6).map(|n| audit_entry(n, i64::try_from(n).unwrap())).collect::<Vec<_>>()).await.unwrap();
        let odd = AuditLogEntry {
            action: "send_code".into(),
            result: "too_many".into(),
            dialect: Some("mefp".into()),
            app: Some("melink".to_owned()),
            subject: Some("someone".to_owned()),
            address: Some("2001:db8::1".to_owned()),
            request: Some("odd".to_owned()),
            ..audit_entry(3, 30)
        };
        audit_log.append(std::slice::from_ref(&odd)).await.unwrap();
        let to_strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let any = AuditLogFilter::default;
        let seconds_later = |second: u64| Some(NOW.saturating_add(secs(second)));
        for (filter, expected) in [
            (AuditLogFilter { since: seconds_later(4), ..any() }, vec![4, 5]),
            (AuditLogFilter { until: seconds_later(2), ..any() }, vec![0, 1]),
            (AuditLogFilter { since: seconds_later(1), until: seconds_later(3), ..any() }, vec![1, 2]),
            (AuditLogFilter { actions: to_strings(&["send_code"]), ..any() }, vec![30]),
            (
                AuditLogFilter {
                    actions: to_strings(&["send_code", "login"]),
                    since: seconds_later(3),
                    until: seconds_later(4),
                    ..any()
                },
                vec![3, 30],
            ),
            (AuditLogFilter { results: to_strings(&["too_many", "stale"]), ..any() }, vec![30]),
            (AuditLogFilter { excluded_results: to_strings(&["ok"]), ..any() }, vec![30]),
            (AuditLogFilter { dialects: to_strings(&["mefp", "jwt"]), ..any() }, vec![30]),
            (AuditLogFilter { app: Some("melink".to_owned()), ..any() }, vec![30]),
            (AuditLogFilter { subject: Some("someone".to_owned()), ..any() }, vec![30]),
            (AuditLogFilter { subject: Some("user-2".to_owned()), ..any() }, vec![2]),
            (AuditLogFilter { address: Some("2001:db8::1".to_owned()), ..any() }, vec![30]),
            (AuditLogFilter { request: Some("odd".to_owned()), ..any() }, vec![30]),
            (AuditLogFilter { request: Some("odd".to_owned()), subject: Some("user-2".to_owned()), ..any() }, vec![]),
        ] {
            let found = audit_log.list(&filter, AuditLogOrder::OldestFirst, None, 10).await.unwrap();
            assert_eq!(seqs(&found), expected, "{name}: {filter:?}");
        }
    }
}

#[tokio::test]
async fn old_entries_are_purged_in_batches() {
    for UserBackend { name, audit_log, .. } in user_backends().await {
        audit_log
            .append(&(0..10).map(|n| audit_entry(n, i64::try_from(n).unwrap())).collect::<Vec<_>>())
            .await
            .unwrap();
        assert_eq!(audit_log.delete_before(Timestamp::from_secs(0), 3).await.unwrap(), 0, "{name}");
        let cutoff = NOW.saturating_add(secs(5));
        let mut deleted = Vec::new();
        loop {
            match audit_log.delete_before(cutoff, 3).await.unwrap() {
                0 => break,
                count => deleted.push(count),
            }
        }
        assert_eq!(deleted, [3, 2], "{name}");
        let remaining = audit_log.list(&AuditLogFilter::default(), AuditLogOrder::OldestFirst, None, 20).await.unwrap();
        assert_eq!(seqs(&remaining), [5, 6, 7, 8, 9], "{name}");
    }
}
