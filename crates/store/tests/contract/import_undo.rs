//! Taking imports back.

use stele_core::import::{ImportRow, MergeRule, SourceRow};
use stele_core::ports::{ImportRun, UndoneRows};
use stele_core::usecase::import::{RowOrder, undo};

use crate::imports::{Keys, account, at_positions, counts, numbered_rows, report, row};
use crate::support::*;

async fn undo_run(backend: &UserBackend, keys: &Keys, run: &ImportRun) -> UndoneRows {
    let mut total = UndoneRows::default();
    let mut add = |undone: &UndoneRows| {
        total.removed += undone.removed;
        total.kept.extend(undone.kept.clone());
        Ok(())
    };
    undo(backend.imports.as_ref(), &keys.clock, run, &mut add).await.unwrap();
    total
}

#[tokio::test]
async fn undo_removes_unchanged_users_and_lists_the_others() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let before = backend.users.add(&user_with_phone("13800138009")).await.unwrap().unwrap();
        let mut rows = numbered_rows(6);
        let joining = ImportRow { secret: None, ..row("join", "joined", "13800138009") };
        rows.push(SourceRow { position: 7, line: None, old_id: "join".to_owned(), row: Ok(joining) });
        let run = keys.run(&backend, "files", MergeRule::Phone, rows).await;
        assert_eq!(run.counts, counts(6, 0, 1, 0));
        let changed = account(&backend, "name2").await.user.id;
        assert!(backend.users.change_credential(changed, 0, 5, &credential("new")).await.unwrap());
        let joined = ImportRow { secret: None, ..row("other", "name3", "") };
        keys.run(&backend, "second", MergeRule::Username, at_positions(vec![Ok(joined)])).await;

        let undone = undo_run(&backend, &keys, &run).await;
        assert_eq!(
            (undone.removed, undone.kept),
            (4, vec!["id2".into(), "id3".into(), "join".into()]),
            "{}",
            backend.name
        );
        let users: Vec<_> = backend.users.list(0, 100).await.unwrap().into_iter().map(|user| user.name).collect();
        // What a row has filled in stays.
        assert_eq!(users, ["joined", "name2", "name3"].map(|name| Some(name.to_owned())));
        assert_eq!(account(&backend, "13800138009").await.user.id, before.id);
        assert!(backend.users.find_by_identifier("name1").await.unwrap().is_none());
        let last = backend.imports.find_last_run(&run.source).await.unwrap().unwrap();
        assert_eq!(last.undone_at, Some(NOW));
        assert_eq!(report(&backend, &run).await.len(), 7, "the report stays");
        // The rows can be imported again; those that stayed are the same.
        let again = keys.run(&backend, "files", MergeRule::None, numbered_rows(6)).await;
        assert_eq!(again.counts, counts(4, 2, 0, 0), "{}", backend.name);
        // Undoing once more finds nothing.
        assert_eq!(undo_run(&backend, &keys, &run).await.removed, 0);
        assert!(backend.users.find_by_identifier("name1").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn undo_removes_users_whose_rows_had_moved_when_the_run_was_continued() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let rows = |ids: [&str; 3]| at_positions(ids.map(|id| Ok(row(id, &format!("name-{id}"), ""))).into());
        let mut importer = keys.start(&backend, "tables", RowOrder::Any).await;
        importer.import(rows(["a", "b", "c"])).await.unwrap();
        drop(importer);
        let mut importer = keys.start(&backend, "tables", RowOrder::Any).await;
        importer.import(rows(["b", "c", "a"])).await.unwrap();
        let run = importer.finish().await.unwrap();
        assert_eq!(run.counts, counts(0, 3, 0, 0), "{}: moved rows are known", backend.name);
        let later = keys.run(&backend, "tables", MergeRule::None, at_positions(vec![Ok(row("d", "dave", ""))])).await;
        let of_source = backend.imports.list_runs(&run.source).await.unwrap();
        assert_eq!(of_source.iter().map(|run| run.id).collect::<Vec<_>>(), [later.id, run.id], "{}", backend.name);
        let mut with_users = backend.imports.list_runs_with_users(&run.source).await.unwrap();
        with_users.sort_unstable();
        assert_eq!(with_users, [run.id, later.id], "{}", backend.name);

        // Pages smaller than the source, with rows of two runs.
        let first = backend.imports.undo_rows(run.id, "", 2).await.unwrap();
        assert_eq!((first.removed, first.last_id.as_deref()), (2, Some("b")), "{}", backend.name);
        assert_eq!(undo_run(&backend, &keys, &run).await, UndoneRows { removed: 1, ..UndoneRows::default() });
        let users: Vec<_> = backend.users.list(0, 100).await.unwrap().into_iter().map(|user| user.name).collect();
        assert_eq!(users, [Some("dave".to_owned())], "{}: another run stays", backend.name);
        assert_eq!(backend.imports.list_runs_with_users(&run.source).await.unwrap(), [later.id]);
    }
}
