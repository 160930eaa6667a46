//! The parameters of a request to an OAuth endpoint: strictly one form (RFC 6749 §3.2), unlike the lenient bodies of
//! the dialects. What two readers could read differently is refused.

use std::fmt;

use zeroize::Zeroizing;

/// The media type of the body.
const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";
/// The most parameters of a request.
const MAX_PARAMETERS: usize = 64;

/// The parameters that an endpoint here reads or refuses. None may be repeated, except for those of [`REPEATABLE`].
const KNOWN: [&str; 21] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "token",
    "token_type_hint",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "username",
    "password",
    AUDIENCE,
    RESOURCE,
];
const AUDIENCE: &str = "audience";
const RESOURCE: &str = "resource";
/// RFC 8693 §2.1, RFC 8707 §2.
const REPEATABLE: [&str; 2] = [AUDIENCE, RESOURCE];

/// Why a body is not accepted. Every error is `invalid_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormError {
    /// The content type is not that of a form in UTF-8, or the body is compressed.
    NotAForm,
    /// A percent sign without two hex digits, bytes that are not UTF-8, or too many parameters.
    Malformed,
    /// This parameter is repeated.
    Repeated(&'static str),
    /// The query string has this parameter.
    InQuery(&'static str),
}

impl fmt::Display for FormError {
    /// The `error_description`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAForm => write!(f, "The body must be {MEDIA_TYPE} in UTF-8."),
            Self::Malformed => f.write_str("The body cannot be read as a form."),
            Self::Repeated(name) => write!(f, "The parameter {name} is repeated."),
            Self::InQuery(name) => write!(f, "The parameter {name} must be in the body, not in the query."),
        }
    }
}

/// The parameters of a form. Values are wiped when dropped, and never printed.
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Form {
    /// Reads the form in `body`. Unknown parameters are ignored, however often they occur (RFC 6749 §3.2).
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn parse(body: &[u8]) -> Result<Self, FormError> {
        let mut parameters: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == MAX_PARAMETERS {
                return Err(FormError::Malformed);
            }
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let name = decode(&pair[..end]).ok_or(FormError::Malformed)?;
            let value = decode(pair.get(end + 1..).unwrap_or_default()).ok_or(FormError::Malformed)?;
            if let Some(known) = find_known(&name)
                && !REPEATABLE.contains(&known)
                && parameters.iter().any(|(other, _)| other == known)
            {
                return Err(FormError::Repeated(known));
            }
            parameters.push((name.to_string(), value));
        }
        Ok(Self(parameters))
    }

    /// The parameter `name`; `None` if it is absent or empty (RFC 6749 §3.2).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// The values of the parameter `name` that are not empty.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(other, _)| *other == name);
        named.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The values of `audience`.
    pub fn audiences(&self) -> Vec<&str> {
        self.get_all(AUDIENCE).collect()
    }

    /// The values of `resource`.
    pub fn resources(&self) -> Vec<&str> {
        self.get_all(RESOURCE).collect()
    }
}

/// Checks the headers of a request with a form.
///
/// # Errors
/// [`FormError::NotAForm`].
pub fn check_headers(content_type: Option<&str>, content_encoding: Option<&str>) -> Result<(), FormError> {
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    let is_form = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case(MEDIA_TYPE));
    let is_utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    let is_plain = content_encoding.is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"));
    if is_form && is_plain && parts.all(is_utf8) { Ok(()) } else { Err(FormError::NotAForm) }
}

/// Checks that a query string has no parameter of the endpoint: credentials and tokens there would get into logs (RFC
/// 6749 §2.3.1). Other parameters are ignored.
///
/// # Errors
/// [`FormError::InQuery`].
pub fn check_query(query: &str) -> Result<(), FormError> {
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default().as_bytes());
    names.filter_map(decode).find_map(|name| find_known(&name)).map_or(Ok(()), |name| Err(FormError::InQuery(name)))
}

fn find_known(name: &str) -> Option<&'static str> {
    KNOWN.into_iter().find(|known| *known == name)
}

/// Decodes a name or value: `+` is a space, `%XX` a byte of UTF-8; `None` if it is malformed. The buffer is allocated
/// at full size, since growing it would leave parts of a secret in freed memory.
pub(crate) fn decode(text: &[u8]) -> Option<Zeroizing<String>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let ([high, low], tail) = rest.split_first_chunk()?;
                rest = tail;
                hex_digit(*high)? << 4 | hex_digit(*low)?
            }
            byte => *byte,
        });
    }
    std::str::from_utf8(&decoded).ok().map(|text| Zeroizing::new(text.to_owned()))
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(body: &str) -> Result<Vec<(String, String)>, FormError> {
        let form = Form::parse(body.as_bytes())?;
        Ok(form.0.iter().map(|(name, value)| (name.clone(), value.to_string())).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_are_form_decoded() {
        assert_eq!(parse("scope=a+b%20c&x=%E4%BD%A0"), Ok(pairs(&[("scope", "a b c"), ("x", "你")])));
        assert_eq!(parse("&&scope&&=x&"), Ok(pairs(&[("scope", ""), ("", "x")])));
        assert_eq!(parse("a=b=c"), Ok(pairs(&[("a", "b=c")])));
        for malformed in ["a=%", "a=%4", "a=%4g", "%zz=1", "a=%ff", "a=%c3%28", "a=%+1"] {
            assert_eq!(parse(malformed), Err(FormError::Malformed), "{malformed}");
        }
        assert!(Form::parse(b"a=\xff").is_err());
    }

    /// RFC 6749 §3.2: "Parameters sent without a value MUST be treated as if they were omitted".
    #[test]
    fn an_empty_parameter_counts_as_absent() {
        let form = Form::parse(b"scope=&token=t&audience=&audience=x").unwrap();
        assert_eq!((form.get("scope"), form.get("token"), form.get("code")), (None, Some("t"), None));
        assert_eq!(form.audiences(), ["x"]);
    }

    /// RFC 6749 §3.2: "Request and response parameters MUST NOT be included more than once."
    #[test]
    fn a_known_parameter_may_not_be_repeated() {
        for name in KNOWN.iter().filter(|name| !REPEATABLE.contains(name)) {
            for body in [format!("{name}=a&{name}=b"), format!("{name}=a&{name}=a"), format!("{name}=&x=1&{name}=a")] {
                assert_eq!(parse(&body), Err(FormError::Repeated(name)), "{body}");
            }
        }
        let encoded = parse("scope=a&s%63ope=b");
        assert_eq!(encoded, Err(FormError::Repeated("scope")));
        assert!(parse("other=1&other=2").is_ok(), "unknown parameters are ignored");
        let form = Form::parse(b"resource=a&audience=c&resource=b").unwrap();
        assert_eq!((form.resources(), form.audiences()), (vec!["a", "b"], vec!["c"]));
    }

    #[test]
    fn the_number_of_parameters_is_limited() {
        let body = |count: usize| (0..count).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert!(parse(&body(MAX_PARAMETERS)).is_ok());
        assert_eq!(parse(&body(MAX_PARAMETERS + 1)), Err(FormError::Malformed));
    }

    #[test]
    fn only_an_uncompressed_form_in_utf8_is_accepted() {
        for content_type in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-URLEncoded; charset=UTF-8",
            "application/x-www-form-urlencoded;charset=\"utf-8\"",
        ] {
            assert_eq!(check_headers(Some(content_type), None), Ok(()), "{content_type}");
        }
        assert_eq!(check_headers(Some(MEDIA_TYPE), Some("identity")), Ok(()));
        for content_type in [
            "",
            "application/json",
            "multipart/form-data",
            "text/plain",
            "application/x-www-form-urlencoded; charset=gbk",
        ] {
            assert_eq!(check_headers(Some(content_type), None), Err(FormError::NotAForm), "{content_type}");
        }
        assert_eq!(check_headers(None, None), Err(FormError::NotAForm));
        assert_eq!(check_headers(Some(MEDIA_TYPE), Some("gzip")), Err(FormError::NotAForm));
    }

    /// RFC 6749 §2.3.1.
    #[test]
    fn parameters_in_the_query_are_refused() {
        assert_eq!(check_query("x=1&y"), Ok(()));
        assert_eq!(check_query(""), Ok(()));
        assert_eq!(check_query("x=1&client_secret=s"), Err(FormError::InQuery("client_secret")));
        assert_eq!(check_query("%74oken=t"), Err(FormError::InQuery("token")));
        assert_eq!(check_query("grant_type"), Err(FormError::InQuery("grant_type")));
    }

    #[test]
    fn debug_output_shows_no_value() {
        let text = format!("{:?}", Form::parse(b"client_secret=hidden").unwrap());
        assert!(text.contains("client_secret") && !text.contains("hidden"), "{text}");
    }

    proptest! {
        #[test]
        fn a_form_reads_as_it_was_encoded(values in prop::collection::vec("\\PC{0,20}", 0..8)) {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let body: Vec<_> = values.iter().enumerate().map(|(n, value)| format!("p{n}={}", encode(value))).collect();
            let read: Vec<_> = parse(&body.join("&")).unwrap().into_iter().map(|(_, value)| value).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_bytes_are_read_or_refused(body: Vec<u8>) {
            if let Ok(form) = Form::parse(&body) {
                prop_assert!(KNOWN.iter().all(|name| REPEATABLE.contains(name) || form.get_all(name).count() <= 1));
            }
        }
    }
}
