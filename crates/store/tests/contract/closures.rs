//! Closures of dialects: scheduled, listed and canceled.

use stele_core::dialect_closure::{ClosureKind, NewClosure};

use crate::support::*;

fn closure(kind: ClosureKind, client: Option<&str>, starts_in: u64, ends_in: Option<u64>) -> NewClosure {
    NewClosure {
        kind,
        dialect: "tms".to_owned(),
        client: client.map(str::to_owned),
        starts_at: NOW.saturating_add(secs(starts_in)),
        ends_at: ends_in.map(|seconds| NOW.saturating_add(secs(seconds))),
        created_at: NOW,
        operator: "uid:0@host".to_owned(),
    }
}

#[tokio::test]
async fn closures_are_scheduled_until_they_end_or_are_canceled() {
    for UserBackend { name, closures, .. } in user_backends().await {
        let all = [
            closure(ClosureKind::Brownout, Some("kiosk"), 10, Some(20)),
            closure(ClosureKind::Off, None, 0, None),
            closure(ClosureKind::Brownout, None, 0, Some(30)),
        ];
        let mut ids = Vec::new();
        for closure in &all {
            ids.push(closures.add_closure(closure, 3).await.unwrap().unwrap());
        }
        assert_eq!(closures.add_closure(&all[0], 3).await.unwrap(), None, "{name}: no more than three");
        let scheduled = async |seconds| {
            let found = closures.scheduled_closures(NOW.saturating_add(secs(seconds))).await.unwrap();
            found.iter().map(|closure| closure.id).collect::<Vec<_>>()
        };
        assert_eq!(scheduled(0).await, ids, "{name}");
        assert_eq!(scheduled(20).await, ids[1..], "{name}");
        assert_eq!(scheduled(1_000).await, [ids[1]], "{name}");
        let found = closures.scheduled_closures(NOW).await.unwrap();
        assert!(found.iter().zip(&all).all(|(found, added)| found.closure == *added), "{name}: {found:?}");

        let at = NOW.saturating_add(secs(5));
        let canceled = closures.cancel_closure(ids[1], at).await.unwrap().unwrap();
        assert_eq!((canceled.closure, canceled.canceled_at), (all[1].clone(), Some(at)), "{name}");
        assert_eq!(scheduled(0).await, [ids[0], ids[2]], "{name}");
        assert_eq!(closures.cancel_closure(ids[1], at).await.unwrap(), None, "{name}: canceled already");
        let late = NOW.saturating_add(secs(20));
        assert_eq!(closures.cancel_closure(ids[0], late).await.unwrap(), None, "{name}: over");
        assert_eq!(closures.cancel_closure(999, at).await.unwrap(), None, "{name}: unknown");

        let listed = closures.list_closures(None, 2).await.unwrap();
        assert_eq!(listed.iter().map(|closure| closure.id).collect::<Vec<_>>(), [ids[2], ids[1]], "{name}");
        let older = closures.list_closures(Some(ids[1]), 2).await.unwrap();
        assert_eq!(older.iter().map(|closure| closure.id).collect::<Vec<_>>(), [ids[0]], "{name}");
    }
}
