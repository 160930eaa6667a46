//! The header fields of a message, whoever has read it: the services by actix, the gateway by itself.

use actix_web::http::header::{HeaderMap, HeaderValue};

/// Fields that can be asked for by name.
pub trait HeaderLookup {
    /// Every value of `name`, which is in lower case, in the order in which they came.
    fn all_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;

    /// The first of them.
    fn first_value<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all_values(name).next()
    }
}

impl HeaderLookup for HeaderMap {
    fn all_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).map(HeaderValue::as_bytes)
    }
}
