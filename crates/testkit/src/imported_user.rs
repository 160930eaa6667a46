//! A user who was imported from the tables of five old systems, under another id in each.

use stele_core::identifier::Phone;
use stele_core::import::{ImportRow, ImportRules, MergeRule, OldId, SourceName, SourceRow};
use stele_core::session::DialectName;
use stele_core::usecase::import::RowOrder;
use stele_core::user::{Profile, Role, UserId, UserStatus};
use stele_core::verifier::parse_imported;

use crate::{TestLab, md5_hex};

/// The phone of the imported user, whose password is `123456`.
pub const IMPORTED_PHONE: &str = "13800138000";

/// The imported user's UUID.
pub const IMPORTED_UUID: &str = "5f1d7a52-0c7e-4d7e-9d0c-6a0f5b1c2d3e";

/// The dialects, each with the id that the user has in its old system.
pub const IMPORTED_IDS: [(DialectName, &str); 5] =
    [("portal", "9"), ("cloudbox", "7"), ("tms", "4"), ("jwt", "0B922F14-D00B-11E7-AAFD-525400BBAC8E"), ("mefp", "55")];

/// The imported user's `user_alias_id` in the old cloudbox.
pub const IMPORTED_ALIAS: &str = "0b9314d8d00b11e7aafd525400bbac8e";

/// The imported user's number: `gid` in the old portal.
pub const IMPORTED_NUMBER: i64 = 300_007;

impl TestLab {
    /// Imports one user from the tables of the five old systems.
    pub async fn import_user(&self) {
        for (dialect, old_id) in IMPORTED_IDS {
            let mut row = ImportRow {
                old_id: OldId::parse(old_id).unwrap(),
                id: None,
                alias_id: None,
                number: None,
                name: None,
                phone: Phone::parse_provisioned(IMPORTED_PHONE),
                email: None,
                role: Role::User,
                status: UserStatus::Active,
                registered_at: Some(self.clock().now()),
                profile: Profile::default(),
                secret: Some(parse_imported(&md5_hex("123456")).unwrap()),
            };
            match dialect {
                "portal" => (row.number, row.id) = (Some(IMPORTED_NUMBER), UserId::parse(IMPORTED_UUID)),
                "cloudbox" => row.alias_id = Some(IMPORTED_ALIAS.to_owned()),
                _ => {}
            }
            self.import_row(dialect, row).await;
        }
    }

    async fn import_row(&self, dialect: DialectName, row: ImportRow) {
        let (source, rules) =
            (SourceName::parse(dialect).unwrap(), ImportRules { merge: MergeRule::Phone, dialect: Some(dialect) });
        let imports = &self.context().imports;
        let mut importer = imports.start(&source, rules, &[0; 32], RowOrder::Fixed).await.unwrap();
        let old_id = row.old_id.as_str().to_owned();
        importer.import(vec![SourceRow { position: 1, line: None, old_id, row: Ok(row) }]).await.unwrap();
        let run = importer.finish().await.unwrap();
        assert_eq!(run.counts.refused, 0, "{dialect}");
    }
}
