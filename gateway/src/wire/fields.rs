//! The fields of a head: names, values, and what kind of field each is to a gateway.

use httparse::Header;

/// What a field is to whoever passes messages on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of the ends of the way: passed on.
    End,
    /// `Host`.
    Host,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding`.
    Encoding,
    /// `Connection`.
    Connection,
    /// `Expect`.
    Expect,
    /// `Upgrade`.
    Upgrade,
    /// Others that end at this connection, RFC 9110, section 7.6.1.
    Hop,
    /// Who calls, and for whom: the gateway says so itself, so that nobody else can.
    Caller,
    /// `X-Request-Id`, likewise.
    RequestId,
    /// A trace's parent, by W3C's Trace Context.
    Trace,
    /// What pages of other origins may do: a matter of the gateway's settings.
    Cors,
    /// `Date`.
    Date,
}

/// A field, as it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// A token.
    pub(crate) name: &'a str,
    pub(crate) value: &'a [u8],
    pub(crate) kind: Kind,
}

/// Longer names are none of those that matter here.
const LONGEST: usize = 24;

impl Kind {
    fn of(name: &str) -> Self {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..name.len()) else { return Self::by_beginning(name) };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"host" => Self::Host,
            b"content-length" => Self::Length,
            b"transfer-encoding" => Self::Encoding,
            b"connection" => Self::Connection,
            b"expect" => Self::Expect,
            b"upgrade" => Self::Upgrade,
            b"te" | b"trailer" | b"keep-alive" | b"close" => Self::Hop,
            b"forwarded" | b"x-real-ip" | b"x-stele-hop" => Self::Caller,
            b"x-request-id" => Self::RequestId,
            b"traceparent" | b"tracestate" => Self::Trace,
            b"date" => Self::Date,
            _ => Self::by_beginning(name),
        }
    }

    fn by_beginning(name: &str) -> Self {
        let begins = |with: &str| name.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
        match name.as_bytes().first() {
            Some(b'p' | b'P') if begins("proxy-") => Self::Hop,
            Some(b'x' | b'X') if begins("x-forwarded-") => Self::Caller,
            Some(b'a' | b'A') if begins("access-control-") => Self::Cors,
            _ => Self::End,
        }
    }
}

/// Fields in the order in which they came.
#[derive(Debug)]
pub(crate) struct Fields<'a>(Vec<Field<'a>>);

impl<'a> Fields<'a> {
    pub(crate) fn of(headers: &[Header<'a>]) -> Self {
        let field = |header: &Header<'a>| Field { name: header.name, value: header.value, kind: Kind::of(header.name) };
        Self(headers.iter().map(field).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Field<'a>> {
        self.0.iter()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The values of all of a kind.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |field| field.kind == kind).map(|field| field.value)
    }

    /// The options that `Connection` lists.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'a [u8]> {
        self.of_kind(Kind::Connection).flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
    }

    /// Whether `Connection` says that a field of this name ends here.
    pub(crate) fn are_named(&self) -> impl Fn(&str) -> bool {
        let ordinary: [&[u8]; 3] = [b"keep-alive", b"close", b"upgrade"];
        let extraordinary = |option: &&[u8]| !ordinary.iter().any(|known| option.eq_ignore_ascii_case(known));
        let named: Vec<&'a [u8]> = self.options().filter(extraordinary).collect();
        move |name| named.iter().any(|named| named.eq_ignore_ascii_case(name.as_bytes()))
    }
}

impl stele_service::headers::Headers for Fields<'_> {
    fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b [u8]> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }
}

/// Writes a field.
pub(crate) fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart_however_they_are_spelled() {
        for (name, kind) in [
            ("Host", Kind::Host),
            ("cOnTeNt-LeNgTh", Kind::Length),
            ("TRANSFER-ENCODING", Kind::Encoding),
            ("Connection", Kind::Connection),
            ("TE", Kind::Hop),
            ("Proxy-Authorization", Kind::Hop),
            ("proxy-anything-of-any-length-at-all", Kind::Hop),
            ("X-Forwarded-For", Kind::Caller),
            ("x-forwarded-anything-of-any-length", Kind::Caller),
            ("X-Stele-Hop", Kind::Caller),
            ("Access-Control-Allow-Credentials", Kind::Cors),
            ("X-Request-ID", Kind::RequestId),
            ("Content-Lengths", Kind::End),
            ("Xforwarded-for", Kind::End),
            ("Authorization", Kind::End),
            ("A", Kind::End),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn connection_names_what_ends_here() {
        let header = |name, value| Header { name, value };
        let fields = Fields::of(&[
            header("Connection", b"close, X-Secret".as_slice()),
            header("connection", b"token ,Upgrade"),
            header("X-Other", b"Y"),
        ]);
        let named = fields.are_named();
        assert!(named("x-secret") && named("Token") && !named("close") && !named("x-other") && !named("y"));
    }
}
