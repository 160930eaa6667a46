//! Contract tests of forward auth, as the proxies of each contract call it (docs/THREATS.md, attacks on forward auth).

mod access_tokens;
mod contracts;
mod credentials;
mod failures;
mod rules;
mod support;
