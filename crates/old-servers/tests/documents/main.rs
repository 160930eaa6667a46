//! Each documented sample: the request as the document has it, answered with the document's fields in its order. Proofs
//! are computed by md5sum, base64 and openssl.

#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod cloudbox;
mod faults;
mod jwt;
mod mariadb;
mod mefp;
mod portal;
mod support;
mod tms;
