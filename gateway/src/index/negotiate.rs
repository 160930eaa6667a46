//! Content negotiation by `Accept` and `Accept-Language`: RFC 9110 §12.5.1 and §12.5.4.

use stele_service::headers::HeaderLookup;

/// Whether `Accept` names HTML and does not prefer JSON. Browsers name HTML; HTTP libraries and tools send `*/*` or no
/// `Accept`.
pub(super) fn is_html_preferred(headers: &impl HeaderLookup) -> bool {
    let highest_quality = |media_types: &[&str]| {
        let accepted = parse_quality_list(headers, "accept");
        let matching = accepted.into_iter().filter(|(name, _)| media_types.contains(&name.as_str()));
        matching.map(|(_, quality)| quality).fold(0.0, f32::max)
    };
    let html_quality = highest_quality(&["text/html", "application/xhtml+xml"]);
    html_quality > 0.0 && html_quality >= highest_quality(&["application/json"])
}

/// Whether `Accept-Language` prefers Chinese to English. With equal weights, the language listed first wins.
pub(super) fn is_chinese_preferred(headers: &impl HeaderLookup) -> bool {
    let mut best = ("en".to_owned(), 0.0);
    for (tag, quality) in parse_quality_list(headers, "accept-language") {
        let language = tag.split('-').next().unwrap_or_default();
        if matches!(language, "zh" | "en") && quality > best.1 {
            best = (language.to_owned(), quality);
        }
    }
    best.0 == "zh"
}

/// The members of a comma-separated list, in lower case, with their weights (`q`). An invalid weight counts as 0.
fn parse_quality_list(headers: &impl HeaderLookup, name: &str) -> Vec<(String, f32)> {
    let values = headers.all_values(name).filter_map(|value| std::str::from_utf8(value).ok());
    let members = values.flat_map(|value| value.split(',')).map(|member| {
        let mut parts = member.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        (name, quality)
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName, HeaderValue};

    use super::*;
    use crate::headers::HyperHeaders;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn html_is_preferred_only_when_named() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("TEXT/HTML", true),
            ("*/*", false),
            ("", false),
            ("text/html;q=0", false),
            ("application/json, text/plain, */*", false),
            ("text/html;q=0.5, application/json", false),
            ("application/json;q=0.5, text/html", true),
            ("text/html; q=x", false),
        ] {
            assert_eq!(is_html_preferred(&HyperHeaders(&headers(ACCEPT, accept))), expected, "{accept}");
        }
        assert!(!is_html_preferred(&HyperHeaders(&HeaderMap::new())));
    }

    #[test]
    fn the_language_with_the_highest_quality_is_chosen() {
        for (languages, expected) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", true),
            ("en-US,en;q=0.9,zh-CN;q=0.8", false),
            ("zh", true),
            ("zh-TW", true),
            ("en;q=0.3, zh;q=0.5", true),
            ("fr, zh;q=0.1", true),
            ("fr", false),
            ("*", false),
            ("zh;q=0", false),
            ("", false),
        ] {
            let headers = headers(ACCEPT_LANGUAGE, languages);
            assert_eq!(is_chinese_preferred(&HyperHeaders(&headers)), expected, "{languages}");
        }
    }
}
