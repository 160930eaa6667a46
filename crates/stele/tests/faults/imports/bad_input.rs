//! Input that is meant to break an import. Each row has one outcome, and the rows beside it are imported.

use super::fixture::{HEADER, ImportFixture, assert_ended};
use crate::client::md5_hex;

/// A row with this id, name, phone and memo.
fn row(id: &str, name: &str, phone: &str, memo: &str) -> String {
    format!("{id},{name},{phone},{memo},{}", md5_hex("123456"))
}

/// Rows, each with its outcome. The last one is good: nothing before it has stopped the import.
fn bad_rows() -> Vec<(Vec<u8>, &'static str)> {
    let text = |text: String| text.into_bytes();
    // 张三 in GBK.
    let gbk = b"2,\xd5\xc5\xc8\xfd,,,";
    vec![
        (text(row("1", "alice", "13800138000", "=cmd|' /C calc'!A0")), "add"),
        ([&gbk[..], md5_hex("x").as_bytes()].concat(), "refuse not_text:username"),
        (text(row("3", "bob", "+86 138-0013-8000", "")), "refuse identifier_repeated:phone"),
        (text(row("4", "", "", "no identifier")), "refuse no_identifier"),
        (text(row("", "carol", "", "")), "refuse no_old_id"),
        (text(row("6", "nul", "", "a\0b")), "refuse invisible_character:memo"),
        (text(HEADER.to_owned()), "refuse repeated_header"),
        (text("7,short".to_owned()), "refuse wrong_field_count"),
        (
            text("8,dave,,,$2b$31$abcdefghijklmnopqrstuuGkd/u1Xn9XQTH5fLOF2cGm4L4MSxFDe".to_owned()),
            "refuse wrong_secret_kind",
        ),
        (text("9,erin,,,".to_owned()), "refuse no_secret"),
        (text("10,frank,,,123456".to_owned()), "refuse wrong_secret_kind"),
        (text(format!("11,grace,,,{}", md5_hex(""))), "refuse empty_password"),
        (text(row("12", "taken", "", "")), "refuse identifier_taken:username"),
        (text(row("1", "another", "", "")), "refuse old_id_repeated"),
        (text(row("1", "alice", "13800138000", "=cmd|' /C calc'!A0")), "same"),
        (text(row("13", &"n".repeat(65), "", "")), "refuse malformed:username"),
        (text(row("14", "heidi", "", &"m".repeat(5_000))), "refuse too_long:memo"),
        (text(row("15", "ivan", "", &"m".repeat(2 << 20))), "refuse record_too_long"),
        (text(row("16", "judy", "13900139000", "=1+1")), "add"),
    ]
}

fn assert_each_row_has_its_outcome(fixture: &ImportFixture) {
    fixture.installation.add_user("taken", "taken-by-us-1", &[]);
    let rows = bad_rows();
    let mut expected: Vec<_> = rows.iter().map(|(_, outcome)| (*outcome).to_owned()).collect();
    let lines: Vec<Vec<u8>> =
        std::iter::once(HEADER.as_bytes().to_vec()).chain(rows.into_iter().map(|(row, _)| row)).collect();
    let last = "added 2 same 1 merged 0 refused 16";
    for (n, (mark, end)) in [("\u{feff}", "\r\n"), ("", "\n"), ("", "\r")].into_iter().enumerate() {
        fixture.write_file(&[mark.as_bytes(), &lines.join(end.as_bytes())].concat());
        let last = if n == 0 { last } else { "added 0 same 3 merged 0 refused 16" };
        assert_ended(&fixture.import("check"), 3, last);
        assert_ended(&fixture.import("run"), 3, last);
        if n == 1 {
            expected.iter_mut().filter(|outcome| *outcome == "add").for_each(|outcome| "same".clone_into(outcome));
            // The row is known from the first file, with other content.
            expected.iter_mut().filter(|o| *o == "refuse old_id_repeated").for_each(|o| "refuse changed".clone_into(o));
        }
        assert_eq!(fixture.report(), expected, "{end:?}");
    }
    assert_eq!(fixture.value("(SELECT count(*) FROM users WHERE number > 100000)"), "3");
    // A formula stays the text that it is, and no spreadsheet that opens an export computes it.
    assert_eq!(fixture.value("(SELECT memo FROM users WHERE name = 'alice')"), "=cmd|' /C calc'!A0");
    let export = |option: &str| {
        let output = fixture.installation.run(&["export", "--source", "old", "--map", "map.toml", option]);
        output.assert_success().stdout.clone()
    };
    assert!(export("--format=csv").contains("'=cmd|' /C calc'!A0") && export("--format=csv").contains("'=1+1"));
    assert!(export("--exact").contains(",=cmd|' /C calc'!A0,") && export("--format=jsonl").contains("\"=1+1\""));
}

#[test]
fn every_bad_row_has_a_clear_outcome_in_sqlite() {
    assert_each_row_has_its_outcome(&ImportFixture::on_sqlite());
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn every_bad_row_has_a_clear_outcome_in_postgresql() {
    assert_each_row_has_its_outcome(&ImportFixture::on_postgres());
}
