//! A form and a query string: `Fields::from_urlencoded` and `add_urlencoded`. The first line is the query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_web::Fields;

fuzz_target!(|text: &str| {
    let (query, body) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(mut fields) = Fields::from_urlencoded(body) {
        let before = fields.len();
        if fields.add_urlencoded(query).is_ok() {
            assert!(fields.len() >= before && fields.len() <= 64);
        }
    }
});
