use proptest::prelude::*;

use super::*;

/// What is left of `text` when it is read in pieces of `size`: how much is good, the fault, and how many requests end.
fn read(text: &[u8], size: usize) -> (usize, Option<Fault>, usize) {
    let (mut scanner, mut good, mut ended) = (Scanner::default(), 0, 0);
    for mut piece in text.chunks(size) {
        while !piece.is_empty() {
            let read = scanner.read(piece);
            good += read.good;
            if read.fault.is_some() {
                return (good, read.fault, ended);
            }
            ended += usize::from(scanner.is_at_start());
            piece = &piece[read.good..];
        }
    }
    (good, None, ended)
}

fn whole(text: &str) -> (usize, Option<Fault>, usize) {
    let read_whole = read(text.as_bytes(), usize::MAX);
    for size in [1, 2, 3, 7] {
        assert_eq!(read(text.as_bytes(), size), read_whole, "in pieces of {size}: {text:?}");
    }
    read_whole
}

#[test]
fn requests_end_where_they_say() {
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (text, requests) in [
        (get.to_owned(), 1),
        (get.repeat(3), 3),
        (format!("\r\n\r\n{get}"), 1),
        (format!("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello{get}"), 2),
        (format!("POST / HTTP/1.1\r\ncontent-LENGTH:5\t\r\n\r\n\nLF\r\0{get}"), 2),
        ("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nhello".to_owned(), 0),
        (format!("{chunked}5\r\nhello\r\n0\r\n\r\n{get}"), 2),
        (format!("{chunked}A ;x=\"y\"\r\n0123456\n\r9\r\n00\r\nX-T: a\r\n\r\n{get}"), 2),
        ("POST / HTTP/1.1\r\nX-Content-Length: 5\r\nContent-Length-X: 5\r\n\r\n".to_owned(), 1),
    ] {
        assert_eq!(whole(&text), (text.len(), None, requests), "{text:?}");
    }
}

#[test]
fn nothing_is_handed_on_from_the_fault_on() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (good, bad) in [
        ("GET / HTTP/1.1", "\nHost: h\n\n"),
        ("GET / HTTP/1.1\r\nHost: h\r\n", "\n"),
        ("GET / HTTP/1.1\r\nA: b\r", "c\r\n\r\n"),
        ("GET / HTTP/1.1\r\nA: b\r", "\r\n\r\n"),
        ("", "\nGET / HTTP/1.1\r\n\r\n"),
        ("GET / HTTP/1.1\r\nContent-Length: 5, 5\r", "\n\r\n"),
        ("GET / HTTP/1.1\r\nContent-Length: +5\r", "\n\r\n"),
        ("GET / HTTP/1.1\r\nContent-Length:\r", "\n\r\n"),
        (&format!("GET / HTTP/1.1\r\nContent-Length: {}5\r", " ".repeat(LINE)), "\n\r\n"),
        (&format!("{head}5"), "\nhello\r\n"),
        (&format!("{head}5 "), "\r\nhello\r\n"),
        (&format!("{head}5 "), "5\r\nhello\r\n"),
        (&format!("{head}5;a"), "\nhello\r\n"),
        (&format!("{head}5;a\r"), "hello\r\n"),
        (head, "\r\nhello"),
        (head, "-5\r\n"),
        (head, ";a\r\n"),
        (&format!("{head}0"), "x5\r\nhello\r\n"),
        (&format!("{head}{}", "0".repeat(16)), "5\r\nhello\r\n"),
        (&format!("{head}5\r\nhello"), "!\r\n"),
        (&format!("{head}5\r\nhello"), "\n0\r\n\r\n"),
        (&format!("{head}5\r\nhello\r"), "0\r\n\r\n"),
        (&format!("{head}0\r\nA: b"), "\n\r\n"),
        (&format!("{head}0\r\nA: b\r\n"), " c\r\n\r\n"),
        (&format!("{head}0\r\nGET"), " / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (&format!("{head}0\r\nA: "), "\0\r\n\r\n"),
        (&format!("{head}0\r\n\r"), "A: b\r\n\r\n"),
    ] {
        let ended = 0;
        assert_eq!(whole(&format!("{good}{bad}")), (good.len(), Some(Fault::Malformed), ended), "{good:?} {bad:?}");
    }
}

#[test]
fn what_has_no_end_is_ended() {
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(MOST_HEAD));
    assert_eq!(whole(&endless), (MOST_HEAD, Some(Fault::HeadTooLarge), 0));
    assert_eq!(whole(&"\r\n".repeat(MOST_HEAD)), (MOST_HEAD, Some(Fault::HeadTooLarge), 0));
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "x".repeat(MOST_EXTRA);
    for endless in [format!("5;{long}x"), format!("0\r\nA:{long}"), format!("0\r\n{}", "A:\r\n".repeat(MOST_EXTRA))] {
        assert_eq!(whole(&format!("{head}{endless}")).1, Some(Fault::Malformed));
    }
    let many = "1;xxxx\r\na\r\n".repeat(MOST_EXTRA / 4 + 1);
    assert_eq!(whole(&format!("{head}{many}")).1, Some(Fault::Malformed));
}

/// Pieces of which requests are made, and which are put where they do not belong.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET /i/x HTTP/1.1\r\n",
        "POST /i/x HTTP/1.1\r\n",
        "Host: h\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "\n",
        "\r",
        "hello",
        "5\r\n",
        "0\r\n",
        "5;a=b\r\n",
        "X: y\r\n",
        " ",
        "\0",
        ":",
    ])
}

proptest! {
    #[test]
    fn how_it_is_cut_changes_nothing(pieces in prop::collection::vec(piece(), 0..24), size in 1_usize..40) {
        let text = pieces.concat();
        let whole = read(text.as_bytes(), usize::MAX);
        prop_assert_eq!(read(text.as_bytes(), size), whole);
        prop_assert!(whole.1.is_some() || whole.0 == text.len());
    }

    #[test]
    fn no_line_handed_on_ends_in_a_bare_lf(pieces in prop::collection::vec(piece(), 0..24)) {
        let text = pieces.concat();
        let (good, _, _) = read(text.as_bytes(), usize::MAX);
        // No piece that is a body's has an LF.
        let good = &text.as_bytes()[..good];
        prop_assert!(good.iter().enumerate().all(|(at, &byte)| byte != b'\n' || (at > 0 && good[at - 1] == b'\r')
            || inside_a_body(good, at)));
    }
}

/// Whether the byte is one of five that a length frames.
fn inside_a_body(text: &[u8], at: usize) -> bool {
    let mut scanner = Scanner::default();
    for byte in &text[..at] {
        scanner.read(std::slice::from_ref(byte));
    }
    match scanner {
        Scanner::Body(_) => true,
        Scanner::Chunks(chunks) => chunks.at == At::Data,
        Scanner::Start | Scanner::Head(_) => false,
    }
}
