//! Lookup of header fields: in actix's header map in the services, in hyper's in the gateway.

use actix_web::http::header::{HeaderMap, HeaderValue};

/// Header fields that can be looked up by name.
pub trait HeaderLookup {
    /// All values of the field `name` (in lower case), in the order of the message.
    fn all_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;

    /// The first value of the field `name` (in lower case).
    fn first_value<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all_values(name).next()
    }
}

impl HeaderLookup for HeaderMap {
    fn all_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).map(HeaderValue::as_bytes)
    }
}
