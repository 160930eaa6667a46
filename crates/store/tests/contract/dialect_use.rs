//! Use of dialects: counted with the audit log, once for each entry, with exact numbers of users a day.

use stele_core::audit_log::{AuditLogEntry, AuditLogEntryId};
use stele_core::dialect_use::{ClientName, DailyUse, DialectUse, UseKind, UserUse, UserUseCursor, UtcDay};
use stele_core::time::Timestamp;
use stele_core::user::UserId;

use crate::audit_log::audit_entry;
use crate::support::*;

const DAY: u64 = 86_400;

fn today() -> UtcDay {
    UtcDay::of(NOW)
}

/// The entry `seq` of the process `source` about a login of `user`, `seconds` after the start of today.
fn login(source: i64, seq: i64, user: u8, seconds: u64, client: &str) -> AuditLogEntry {
    let at = today().start().saturating_add(secs(seconds));
    AuditLogEntry {
        id: AuditLogEntryId { at, source, seq },
        dialect_use: Some(DialectUse {
            user: user_id(user),
            dialect: "tms",
            client: ClientName::parse(client).unwrap(),
            proof: "salted",
        }),
        ..audit_entry(0, seq)
    }
}

fn kind(client: &str) -> UseKind {
    UseKind { dialect: "tms".to_owned(), client: client.to_owned(), proof: "salted".to_owned() }
}

fn daily(day: i64, client: &str, logins: u64, users: u64) -> DailyUse {
    DailyUse { day: today().plus(day), kind: kind(client), logins, users }
}

async fn list_all(backend: &UserBackend, dialect: &str, page: u32) -> Vec<UserUse> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let rows =
            backend.dialect_use.list_users(dialect, Timestamp::from_secs(0), after.as_ref(), page).await.unwrap();
        let Some(last) = rows.last() else { return all };
        after = Some(UserUseCursor::from(last));
        all.extend(rows);
    }
}

#[tokio::test]
async fn a_batch_counts_logins_and_different_users_of_each_day_and_client() {
    for backend in user_backends().await {
        let UserBackend { name, audit_log, dialect_use, .. } = &backend;
        let batch = [
            login(1, 1, 1, 10, "kiosk"),
            login(1, 2, 1, 20, "kiosk"),
            login(1, 3, 2, 30, "kiosk"),
            login(1, 4, 2, 40, "other"),
            login(1, 5, 1, DAY, "kiosk"),
            audit_entry(7, 6),
        ];
        audit_log.append(&batch).await.unwrap();
        let expected = [daily(0, "kiosk", 3, 2), daily(0, "other", 1, 1), daily(1, "kiosk", 1, 1)];
        assert_eq!(dialect_use.daily_use(today()).await.unwrap(), expected, "{name}");
        assert_eq!(dialect_use.daily_use(today().plus(1)).await.unwrap(), expected[2..], "{name}");
        assert_eq!(dialect_use.daily_use(today().plus(2)).await.unwrap(), [], "{name}");
        let periods = dialect_use.use_periods().await.unwrap();
        let start = today().start();
        assert_eq!((&periods[0].kind, periods.len()), (&kind("kiosk"), 2), "{name}");
        let expected = (start.saturating_add(secs(10)), start.saturating_add(secs(DAY)));
        assert_eq!((periods[0].first_at, periods[0].last_at), expected, "{name}");

        audit_log.append(&[login(1, 7, 3, DAY + 5, "kiosk"), login(1, 8, 1, DAY + 6, "kiosk")]).await.unwrap();
        let expected = [daily(1, "kiosk", 3, 2)];
        assert_eq!(dialect_use.daily_use(today().plus(1)).await.unwrap(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_retried_batch_does_not_count_twice() {
    for UserBackend { name, audit_log, dialect_use, .. } in user_backends().await {
        let batch: Vec<_> = (0..10).map(|n| login(1, n, u8::try_from(n).unwrap(), 60, "other")).collect();
        audit_log.append(&batch[..6]).await.unwrap();
        audit_log.append(&batch[..6]).await.unwrap();
        // A retry with further entries counts only those.
        audit_log.append(&batch).await.unwrap();
        // An entry of another process with the same number is another entry.
        audit_log.append(&[login(2, 3, 3, 60, "other")]).await.unwrap();
        assert_eq!(dialect_use.daily_use(today()).await.unwrap(), [daily(0, "other", 11, 10)], "{name}");
    }
}

#[tokio::test]
async fn users_of_a_day_are_exact_whatever_the_order_of_batches() {
    for UserBackend { name, audit_log, dialect_use, .. } in user_backends().await {
        // Two instances, whose clocks or queues differ: the older day is written last, twice.
        let days = [3_u64, 1, 1, 3, 64, 2, 2, 70, 64, 8, 7];
        for (seq, day) in (0..).zip(days) {
            audit_log.append(&[login(1, seq, 9, day * DAY, "other")]).await.unwrap();
        }
        let found = dialect_use.daily_use(today()).await.unwrap();
        let found: Vec<_> =
            found.iter().map(|row| (row.day.number() - today().number(), row.logins, row.users)).collect();
        // On day 7, 63 days before the last one, it is no longer known whether the user was counted.
        assert_eq!(found, [(1, 2, 1), (2, 2, 1), (3, 2, 1), (7, 1, 0), (8, 1, 1), (64, 2, 1), (70, 1, 1)], "{name}");
    }
}

/// The days of one user after batches in this order, which both backends must keep alike.
#[tokio::test]
async fn a_users_row_has_first_and_last_use_and_its_days() {
    for backend in user_backends().await {
        let UserBackend { name, audit_log, .. } = &backend;
        let at = |seconds| today().start().saturating_add(secs(seconds));
        let mut seq = 0;
        for (seconds, expected_last, expected_days) in [
            (10, 10, 0b1),
            // Within the hour, the row is not written.
            (3_600, 10, 0b1),
            (3_611, 3_611, 0b1),
            (2 * DAY, 2 * DAY, 0b101),
            (DAY, 2 * DAY, 0b111),
            (5, 2 * DAY, 0b111),
            (63 * DAY, 63 * DAY, (0b111 << 61 & i64::MAX) | 1),
            (200 * DAY, 200 * DAY, 0b1),
        ] {
            seq += 1;
            audit_log.append(&[login(1, seq, 4, seconds, "other")]).await.unwrap();
            let rows = list_all(&backend, "tms", 10).await;
            let activity = rows[0].activity;
            let found = (activity.first_at, activity.last_at, activity.last_day, activity.days, rows.len());
            let last = at(expected_last);
            assert_eq!(found, (at(10), last, UtcDay::of(last), expected_days, 1), "{name}: {seconds}");
        }
    }
}

#[tokio::test]
async fn two_writers_at_once_count_each_user_once_a_day() {
    for backend in user_backends().await {
        let UserBackend { name, audit_log, dialect_use, .. } = &backend;
        let writer = |source: i64| {
            let audit_log = audit_log.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    // The same users in both writers, in opposite orders.
                    let mut batch: Vec<_> = (0..50_u8)
                        .map(|n| login(source, round * 50 + i64::from(n), n, 60 + n as u64, "other"))
                        .collect();
                    if source == 2 {
                        batch.reverse();
                    }
                    // As the writer does after a deadlock or a timeout.
                    while audit_log.append(&batch).await.is_err() {}
                }
            })
        };
        let (first, second) = (writer(1), writer(2));
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(dialect_use.daily_use(today()).await.unwrap(), [daily(0, "other", 2_000, 50)], "{name}");
        assert_eq!(dialect_use.count_users("tms", Timestamp::from_secs(0)).await.unwrap(), 50, "{name}");
    }
}

#[tokio::test]
async fn users_are_listed_newest_first_with_what_identifies_them() {
    for backend in user_backends().await {
        let UserBackend { name, users, audit_log, dialect_use, .. } = &backend;
        let known = users.add(&user_named("mark")).await.unwrap().unwrap().id;
        let with_user = |user: UserId, entry: AuditLogEntry| {
            let dialect_use = entry.dialect_use.clone().map(|dialect_use| DialectUse { user, ..dialect_use });
            AuditLogEntry { dialect_use, ..entry }
        };
        let batch = [
            login(1, 1, 1, 10, "other"),
            login(1, 2, 2, 30, "other"),
            login(1, 3, 2, 30, "kiosk"),
            login(1, 4, 3, 30, "other"),
            with_user(known, login(1, 5, 0, 20, "other")),
        ];
        audit_log.append(&batch).await.unwrap();
        for page in [1, 2, 100] {
            let rows = list_all(&backend, "tms", page).await;
            let found: Vec<_> =
                rows.iter().map(|row| (row.user, row.kind.client.as_str(), row.identifier.as_deref())).collect();
            let expected = [
                (user_id(3), "other", None),
                (user_id(2), "other", None),
                (user_id(2), "kiosk", None),
                (known, "other", Some("mark")),
                (user_id(1), "other", None),
            ];
            assert_eq!(found, expected, "{name} {page}");
        }
        assert_eq!(list_all(&backend, "cloudbox", 10).await, [], "{name}");
        let since = today().start().saturating_add(secs(20));
        assert_eq!(dialect_use.list_users("tms", since, None, 10).await.unwrap().len(), 4, "{name}");
        assert_eq!(dialect_use.count_user_rows("tms", since).await.unwrap(), 4, "{name}");
        assert_eq!(dialect_use.count_users("tms", since).await.unwrap(), 3, "{name}");
        assert_eq!(dialect_use.count_users("jwt", since).await.unwrap(), 0, "{name}");
        let by_kind = dialect_use.count_users_by_kind(since).await.unwrap();
        assert_eq!(by_kind, [(kind("kiosk"), 1), (kind("other"), 3)], "{name}");
    }
}

#[tokio::test]
async fn use_before_a_day_is_purged_in_batches() {
    for backend in user_backends().await {
        let UserBackend { name, audit_log, dialect_use, .. } = &backend;
        let mut batch: Vec<_> =
            (0..5).map(|n| login(1, n, u8::try_from(n).unwrap(), 100 + n as u64, "other")).collect();
        batch.push(login(1, 9, 9, DAY, "other"));
        audit_log.append(&batch).await.unwrap();
        assert_eq!(dialect_use.delete_use_before(today(), 3).await.unwrap(), 0, "{name}");
        let mut deleted = Vec::new();
        loop {
            match dialect_use.delete_use_before(today().plus(1), 3).await.unwrap() {
                0 => break,
                rows => deleted.push(rows),
            }
        }
        assert_eq!(deleted, [3, 2, 1], "{name}");
        assert_eq!(dialect_use.daily_use(today()).await.unwrap(), [daily(1, "other", 1, 1)], "{name}");
        assert_eq!(list_all(&backend, "tms", 10).await.len(), 1, "{name}");
    }
}
