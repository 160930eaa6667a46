//! The audit trail: added to in batches, found again by what it says, forgotten by age.

use std::borrow::Cow;

use stele_core::time::Timestamp;
use stele_core::trail::{Entry, EntryId, Filter, Order};

use crate::support::*;

pub(crate) fn entry(second: u64, seq: i64) -> Entry {
    Entry {
        id: EntryId { at: NOW.after(secs(second)), source: 5, seq },
        first_at: None,
        act: "login".into(),
        proof: Some("salted".into()),
        purpose: None,
        result: "ok".into(),
        times: 1,
        origins: None,
        dialect: Some("tms".into()),
        app: None,
        subject_kind: Some("user".into()),
        subject: Some(format!("user-{seq}")),
        address: Some("192.0.2.1".to_owned()),
        request: Some(format!("r{seq}")),
        operator: None,
    }
}

fn seqs(entries: &[Entry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.id.seq).collect()
}

#[tokio::test]
async fn entries_come_back_as_added_in_order_and_each_once() {
    for UserBackend { name, trail, .. } in user_backends().await {
        let bare = Entry {
            proof: None,
            dialect: None,
            subject_kind: None,
            subject: None,
            address: None,
            request: None,
            operator: Some("uid:0@host".to_owned()),
            purpose: Some(Cow::Borrowed("reset")),
            app: Some("melink".to_owned()),
            times: 7,
            first_at: Some(NOW),
            origins: Some(4),
            ..entry(2, 3)
        };
        // Out of order, and with one instant twice.
        let all = [entry(1, 2), bare, entry(0, 1), entry(2, 4)];
        trail.append(&all).await.unwrap();
        let changed = Entry { act: "logout".into(), ..entry(0, 1) };
        trail.append(&[changed, entry(3, 5)]).await.unwrap();
        trail.append(&[]).await.unwrap();

        let found = trail.page(&Filter::default(), Order::OldestFirst, None, 10).await.unwrap();
        assert_eq!(seqs(&found), [1, 2, 3, 4, 5], "{name}");
        assert_eq!((&found[0], &found[2]), (&all[2], &all[1]), "{name}: as it was added first");
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let page = trail.page(&Filter::default(), order, after, 2).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.id);
                paged.extend(seqs(&page));
            }
            if order == Order::NewestFirst {
                paged.reverse();
            }
            assert_eq!(paged, [1, 2, 3, 4, 5], "{name} {order:?}");
        }
    }
}

#[tokio::test]
async fn a_batch_larger_than_any_statement_is_added() {
    for UserBackend { name, trail, .. } in user_backends().await {
        let all: Vec<Entry> = (0..2_500).map(|n| entry(n, i64::try_from(n).unwrap())).collect();
        trail.append(&all).await.unwrap();
        let found = trail.page(&Filter::default(), Order::OldestFirst, None, 5_000).await.unwrap();
        assert_eq!(found, all, "{name}");
    }
}

#[tokio::test]
async fn every_filter_narrows() {
    for UserBackend { name, trail, .. } in user_backends().await {
        trail.append(&(0..6).map(|n| entry(n, i64::try_from(n).unwrap())).collect::<Vec<_>>()).await.unwrap();
        let odd = Entry {
            act: "send_code".into(),
            result: "too_many".into(),
            dialect: Some("mefp".into()),
            app: Some("melink".to_owned()),
            subject: Some("someone".to_owned()),
            address: Some("2001:db8::1".to_owned()),
            request: Some("odd".to_owned()),
            ..entry(3, 30)
        };
        trail.append(std::slice::from_ref(&odd)).await.unwrap();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let none = Filter::default;
        let at = |second: u64| Some(NOW.after(secs(second)));
        for (filter, expected) in [
            (Filter { since: at(4), ..none() }, vec![4, 5]),
            (Filter { until: at(2), ..none() }, vec![0, 1]),
            (Filter { since: at(1), until: at(3), ..none() }, vec![1, 2]),
            (Filter { acts: words(&["send_code"]), ..none() }, vec![30]),
            (Filter { acts: words(&["send_code", "login"]), since: at(3), until: at(4), ..none() }, vec![3, 30]),
            (Filter { results: words(&["too_many", "stale"]), ..none() }, vec![30]),
            (Filter { but_results: words(&["ok"]), ..none() }, vec![30]),
            (Filter { dialects: words(&["mefp", "jwt"]), ..none() }, vec![30]),
            (Filter { app: Some("melink".to_owned()), ..none() }, vec![30]),
            (Filter { subject: Some("someone".to_owned()), ..none() }, vec![30]),
            (Filter { subject: Some("user-2".to_owned()), ..none() }, vec![2]),
            (Filter { address: Some("2001:db8::1".to_owned()), ..none() }, vec![30]),
            (Filter { request: Some("odd".to_owned()), ..none() }, vec![30]),
            (Filter { request: Some("odd".to_owned()), subject: Some("user-2".to_owned()), ..none() }, vec![]),
        ] {
            let found = trail.page(&filter, Order::OldestFirst, None, 10).await.unwrap();
            assert_eq!(seqs(&found), expected, "{name}: {filter:?}");
        }
    }
}

#[tokio::test]
async fn what_is_old_is_forgotten_a_little_at_a_time() {
    for UserBackend { name, trail, .. } in user_backends().await {
        trail.append(&(0..10).map(|n| entry(n, i64::try_from(n).unwrap())).collect::<Vec<_>>()).await.unwrap();
        assert_eq!(trail.forget(Timestamp::from_secs(0), 3).await.unwrap(), 0, "{name}");
        let old = NOW.after(secs(5));
        let mut gone = Vec::new();
        loop {
            match trail.forget(old, 3).await.unwrap() {
                0 => break,
                some => gone.push(some),
            }
        }
        assert_eq!(gone, [3, 2], "{name}");
        let left = trail.page(&Filter::default(), Order::OldestFirst, None, 20).await.unwrap();
        assert_eq!(seqs(&left), [5, 6, 7, 8, 9], "{name}");
    }
}
