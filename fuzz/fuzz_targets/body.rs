//! A body under any content type: `Fields::from_body`. The first line of the input is the content type.
#![no_main]

use actix_web::web::Bytes;
use libfuzzer_sys::fuzz_target;
use stele_web::Fields;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let kind = std::str::from_utf8(&data[..end]).ok();
    let body = Bytes::copy_from_slice(data.get(end + 1..).unwrap_or_default());
    if let Ok(fields) = futures_executor::block_on(Fields::from_body(kind, body)) {
        // Reading a field never fails in another way than by naming it.
        for name in ["username", "password", "timestamp", "app_name", "encrypt", "code", "token"] {
            if let Err(fault) = fields.required(name) {
                assert_eq!(fault.field(), Some(name));
            }
        }
    }
});
