//! Files as sources: what programs really write, and input that is meant to break the reader.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::fmt::Write as _;
use std::io::Write as _;

use proptest::prelude::*;
use stele_core::import::{OutcomeCounts, Refusal, RowOutcome, SourceRow};
use stele_import::{ImportMap, Record, RowReader, SourceError, fingerprint, open_source};

const MAP: &str = "format = \"csv\"\n[columns]\nid = \"id\"\nusername = \"name\"\nmemo = \"memo\"";

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn try_read(map: &str, bytes: &[u8]) -> Result<Vec<SourceRow>, SourceError> {
    let (map, file) = (ImportMap::parse(map).unwrap(), file(bytes));
    let reader = RowReader::new(&map).unwrap();
    block_on(async {
        let mut source = open_source(&map, file.path().to_str().unwrap()).await?;
        let mut rows = Vec::new();
        loop {
            let batch: Vec<Record> = source.next(3).await?;
            if batch.is_empty() {
                assert!(source.fraction_read().is_none_or(|read| (read - 1.0).abs() < f64::EPSILON));
                return Ok(rows);
            }
            assert!(batch.len() <= 3);
            rows.extend(batch.into_iter().map(|record| reader.read(record)));
        }
    })
}

/// Each row as `position/line id name memo`, or with the code of its refusal.
fn read(map: &str, bytes: &[u8]) -> Vec<String> {
    let rows = try_read(map, bytes).unwrap();
    rows.iter()
        .map(|SourceRow { position, line, old_id, row }| {
            let line = line.unwrap();
            match row {
                Ok(row) => {
                    let name = row.name.as_ref().map_or("-", |name| name.text());
                    format!("{position}/{line} {old_id} {name} {}", row.profile.memo)
                }
                Err(refusal) => format!("{position}/{line} {old_id} {}", refusal.code()),
            }
        })
        .collect()
}

#[test]
fn lines_may_end_with_cr_lf_lf_or_cr() {
    let expected = ["1/2 1 alice x", "2/3 2 bob y z", "3/5 3 carol "];
    for end in ["\n", "\r\n", "\r"] {
        let text = format!("id,name,memo{end}1,alice,x{end}2,bob,\"y{end}z\"{end}3,carol,");
        assert_eq!(read(MAP, text.as_bytes()), expected, "{end:?}");
        assert_eq!(read(MAP, (text + end).as_bytes()), expected, "{end:?}");
    }
}

#[test]
fn quotes_delimiters_and_formulas_are_read_as_text() {
    let rows = read(MAP, b"id,name,memo\n1,\"a,b\",\"say \"\"hi\"\"\"\n2,=1+1,@SUM(A1)\n");
    assert_eq!(rows, ["1/2 1 a,b say \"hi\"", "2/3 2 =1+1 @SUM(A1)"]);
    let map = MAP.replacen('\n', "\ndelimiter = \";\"\n", 1);
    assert_eq!(read(&map, b"id;name;memo\n1;a,b;x"), ["1/2 1 a,b x"]);
    let map = MAP.replacen('\n', "\ndelimiter = \"\\t\"\n", 1);
    assert_eq!(read(&map, b"memo\tid\tname\nx\t1\talice"), ["1/2 1 alice x"]);
}

#[test]
fn byte_order_marks_and_declared_encodings_are_decoded() {
    let text = "id,name,memo\n1,张三,备注";
    let expected = ["1/2 1 张三 备注"];
    assert_eq!(read(MAP, text.as_bytes()), expected);
    assert_eq!(read(MAP, format!("\u{feff}{text}").as_bytes()), expected);
    for label in ["gb18030", "gbk", "big5"] {
        // 张 is not in Big5, 張 is not in GB2312.
        let text =
            if label == "big5" { text.replace("张", "張").replace("备注", "備註") } else { text.to_owned() };
        let encoded = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap().encode(&text).0.into_owned();
        let map = MAP.replacen('\n', &format!("\nencoding = \"{label}\"\n"), 1);
        assert_eq!(read(&map, &encoded).len(), 1);
        assert!(!read(&map, &encoded)[0].contains("not_text"), "{label}");
        assert_eq!(read(MAP, &encoded), ["1/2 1 not_text:username"], "undeclared {label}");
    }
    let utf16: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read(MAP, &utf16), expected);
    // A character that is cut off at the end of the file.
    let map = MAP.replacen('\n', "\nencoding = \"gb18030\"\n", 1);
    assert_eq!(read(&map, b"id,name,memo\n1,a,\xd5"), ["1/2 1 not_text:memo"]);
}

#[test]
fn one_bad_byte_refuses_its_row_only() {
    let rows = read(MAP, b"id,name,memo\n1,\xff\xfe,x\n2,bob,a\0b\n\0,carol,y\n4,dave,z\n");
    assert_eq!(
        rows,
        ["1/2 1 not_text:username", "2/3 2 invisible_character:memo", "3/4 \0 malformed:id", "4/5 4 dave z"]
    );
}

#[test]
fn broken_records_are_refused_with_their_line() {
    let rows = read(MAP, b"id,name,memo\n1,alice\n2,bob,x,y\n\n\nid,name,memo\n3,carol,\n");
    assert_eq!(rows, ["1/2  wrong_field_count", "2/3  wrong_field_count", "3/4  repeated_header", "4/7 3 carol "]);
}

#[test]
fn a_quote_that_is_not_closed_swallows_no_row() {
    for end in ["\n", "\r\n", "\r"] {
        for broken in [
            "2,\"bob,y",
            // The number of fields is right: without a closing quote, the memo would have the other rows.
            "2,bob,\"y",
            "2,bob,\"y \"\"z",
        ] {
            let text =
                format!("id,name,memo{end}1,alice,x{end}{broken}{end}3,carol,z{end}4,dave,\"a{end}b\"{end}5,erin,");
            let rows = read(MAP, text.as_bytes());
            assert_eq!(
                rows,
                ["1/2 1 alice x", "2/3  unclosed_quote", "3/4 3 carol z", "4/5 4 dave a b", "5/7 5 erin "],
                "{text}"
            );
        }
        // It is closed by the quote that opens a later field.
        let text = format!("id,name,memo{end}2,bob,\"y{end}3,carol,z{end}4,dave,\"a\"{end}5,erin,");
        assert_eq!(read(MAP, text.as_bytes()), ["1/2  unclosed_quote", "2/3 3 carol z", "3/4 4 dave a", "4/5 5 erin "]);
    }
    // A field that is closed is a user's text, never rows, although a column is missing.
    let rows = read(MAP, b"id,name,memo\n1,\"x\n9,root,y\"\n2,bob,\n");
    assert_eq!(rows, ["1/2  wrong_field_count", "2/4 2 bob "]);
    // More than is held, in an encoding that cannot be sought in.
    let mut text = "id,name,memo\n1,\"alice,x\n".to_owned();
    for n in 2..60_000 {
        writeln!(text, "{n},user{n},张三李四王五").unwrap();
    }
    for encoding in [encoding_rs::UTF_8, encoding_rs::GB18030] {
        let map = MAP.replacen('\n', &format!("\nencoding = \"{}\"\n", encoding.name()), 1);
        let rows = read(&map, &encoding.encode(&text).0);
        assert_eq!(
            (rows.len(), rows[0].as_str(), rows[1].as_str()),
            (59_999, "1/2  unclosed_quote", "2/3 2 user2 张三李四王五")
        );
        assert_eq!(rows.last().unwrap(), "59999/60000 59999 user59999 张三李四王五");
    }
}

#[test]
fn a_line_of_100_mb_is_refused_in_bounded_memory() {
    let path = tempfile::NamedTempFile::new().unwrap();
    for (map, start, end) in [
        (MAP.to_owned(), "id,name,memo\n1,alice,", "\n2,bob,x\n"),
        (MAP.to_owned(), "id,name,memo\n1,alice,\"", "\"\n2,bob,x\n"),
        (MAP.replace("csv", "jsonl"), "\n{\"id\":1,\"name\":\"", "\"}\n{\"id\":2,\"name\":\"bob\",\"memo\":\"x\"}\n"),
    ] {
        let mut file = std::fs::File::create(path.path()).unwrap();
        file.write_all(start.as_bytes()).unwrap();
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            file.write_all(&chunk).unwrap();
        }
        file.write_all(end.as_bytes()).unwrap();
        let before = peak_memory_kib();
        let parsed = ImportMap::parse(&map).unwrap();
        let reader = RowReader::new(&parsed).unwrap();
        let rows = block_on(async {
            let mut source = open_source(&parsed, path.path().to_str().unwrap()).await.unwrap();
            source.next(10).await.unwrap()
        });
        let rows: Vec<_> = rows.into_iter().map(|record| reader.read(record)).collect();
        assert_eq!(rows[0].row.as_ref().err(), Some(&Refusal::RecordTooLong));
        assert_eq!((rows.len(), rows[1].old_id.as_str(), rows[1].line), (2, "2", Some(3)));
        let grown = peak_memory_kib() - before;
        assert!(grown < 16 * 1024, "{grown} KiB for a line of 100 MB");
    }
}

/// The peak of the process's resident memory in KiB.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_file_without_header_or_with_other_columns_is_a_fault_of_the_source() {
    for (bytes, expected) in [
        (&b""[..], "no header"),
        (b"\n\n", "no header"),
        (b"id,name\n1,alice", "memo names the column \"memo\", which the source does not have"),
        (b"id,name,memo,name\n1,a,b,c", "username names the column \"name\", which the source has more than once"),
    ] {
        let error = try_read(MAP, bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let map = ImportMap::parse(MAP).unwrap();
    let missing = block_on(open_source(&map, "/nowhere/users.csv")).err().unwrap().to_string();
    assert!(missing.contains("/nowhere/users.csv"), "{missing}");
}

#[test]
fn json_lines_are_read_whatever_the_type_of_a_value() {
    let map = MAP.replace("csv", "jsonl");
    let text = "\u{feff}{\"id\": 1, \"name\": \"alice\", \"memo\": null}\r\n\n\
                {\"name\": true, \"id\": 12345678901234567890}\n\
                {\"id\": 3, \"name\": [\"bob\"]}\n\
                [4]\n{\"id\": 5\n{\"id\": 6, \"name\": \"f\\u0000\"}\n{\"id\":7,\"name\":\"g\",\"name\":\"h\"}";
    assert_eq!(
        read(&map, text.as_bytes()),
        [
            "1/1 1 alice ",
            "2/3 12345678901234567890 true ",
            "3/4 3 not_text:username",
            "4/5  not_an_object",
            "5/6  not_an_object",
            "6/7 6 malformed:username",
            "7/8 7 h ",
        ]
    );
}

#[test]
fn an_interrupted_import_continues_after_the_records_that_were_read() {
    let mut text = "id,name,memo\n".to_owned();
    for n in 0..2_500 {
        writeln!(text, "{n},user{n},").unwrap();
    }
    let (map, file) = (ImportMap::parse(MAP).unwrap(), file(text.as_bytes()));
    let path = file.path().to_str().unwrap();
    let next = block_on(async {
        let mut source = open_source(&map, path).await.unwrap();
        source.skip(2_345).await.unwrap();
        source.next(1).await.unwrap().remove(0)
    });
    assert_eq!((next.position, next.line), (2_346, Some(2_347)));
    let same = |map_text: &str| fingerprint(map_text, &map, path).unwrap();
    assert_eq!(same(MAP), same(MAP));
    assert_ne!(same(MAP), same("another map"));
    let before = same(MAP);
    std::fs::OpenOptions::new().append(true).open(file.path()).unwrap().write_all(b"x").unwrap();
    assert_ne!(same(MAP), before);
}

proptest! {
    #[test]
    fn every_record_of_any_bytes_has_one_outcome(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for map in [MAP.to_owned(), MAP.replace("csv", "jsonl")] {
            let mut bytes = bytes.clone();
            bytes.splice(0..0, *b"id,name,memo\n");
            let rows = try_read(&map, &bytes).unwrap();
            let mut counts = OutcomeCounts::default();
            for (n, row) in rows.iter().enumerate() {
                prop_assert_eq!(row.position, n as u64 + 1);
                counts.count(row.row.as_ref().map_or_else(|refusal| RowOutcome::Refuse(*refusal), |_| RowOutcome::Add));
            }
            prop_assert_eq!(counts.total(), rows.len() as u64);
        }
    }
}
