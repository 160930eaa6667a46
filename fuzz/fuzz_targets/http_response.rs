//! The gateway's reading of a service's answer: it is the same however much has come, its framing is one, and none of it
//! that is of this connection reaches the client.
#![no_main]

use gateway::fuzzing::{Frame, answer, relayed};
use libfuzzer_sys::fuzz_target;

const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

/// The values of each field of this name in a head, by hand.
fn values(head: &[u8], name: &str) -> Vec<String> {
    let text: String = head.iter().copied().map(char::from).collect();
    let lines = text.split('\n').skip(1).filter_map(|line| line.split_once(':'));
    let of_name = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    of_name.map(|(_, value)| value.trim_matches([' ', '\t', '\r']).to_owned()).collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else { return };
    let (method, cut) = (METHODS[usize::from(first) % METHODS.len()], usize::from(first) / 3 + 1);
    let whole = answer(bytes, method);
    for come in (0..bytes.len()).step_by(cut).map(|end| &bytes[..end]) {
        match (answer(come, method), &whole) {
            (Ok(None), _) => {}
            (early, whole) => assert_eq!(&early, whole, "with more behind it it is something else"),
        }
    }
    let Ok(Some(head)) = whole else { return };
    let (raw, rest) = bytes.split_at(head.size);
    let (lengths, encodings) = (values(raw, "content-length"), values(raw, "transfer-encoding"));
    assert!(lengths.len() + encodings.len() <= 1, "two framings");
    assert_eq!(
        head.length.map(|length| length.to_string()),
        lengths.first().map(|length| match length.trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        })
    );
    let bodiless = method == "HEAD" || matches!(head.status, 100..=199 | 204 | 304);
    match (head.frame, head.length) {
        (Frame::None, length) => assert!(bodiless || length == Some(0)),
        (Frame::Sized(told), length) => assert!(Some(told) == length && told > 0 && !bodiless),
        (Frame::Chunked, length) => {
            assert!(!bodiless && length.is_none() && encodings[0].eq_ignore_ascii_case("chunked"));
        }
        (Frame::UntilClose, length) => {
            assert!(!bodiless && length.is_none() && encodings.is_empty() && !head.is_kept);
        }
    }
    // A line for each field, and none of what the gateway says itself.
    let text: String = head.forwarded.iter().copied().map(char::from).collect();
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "a line is split: {text:?}");
    for line in text.split_terminator("\r\n") {
        let (name, _) = line.split_once(": ").expect("name and value");
        let name = name.to_ascii_lowercase();
        let own = [
            "content-length",
            "transfer-encoding",
            "connection",
            "keep-alive",
            "upgrade",
            "te",
            "trailer",
            "x-request-id",
        ];
        assert!(!own.contains(&name.as_str()) && !name.starts_with("access-control-"), "{name} crosses");
    }
    // In chunks or as it is, the client gets the same.
    match (relayed(head.frame, &[rest], false), relayed(head.frame, &[rest], true)) {
        (Ok(plain), Ok(chunked)) => {
            assert_eq!((plain.content, plain.is_over), (chunked.content, chunked.is_over));
            let again = relayed(Frame::Chunked, &[&chunked.written], false).expect("chunks of our own");
            assert_eq!(again.written, plain.written);
        }
        (plain, chunked) => assert_eq!(plain, chunked),
    }
});
