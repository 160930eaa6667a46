//! Text normalization: invisible characters (spoofing), separators in numbers, typed codes and captchas.

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Whether a character is visible and does not affect the text around it. Characters of Unicode's categories Cc, Cf, Zl
/// and Zp are not visible: controls, formats (bidirectional overrides, zero-width characters), line and paragraph
/// separators. Private-use characters (Co) are visible, because rare Chinese characters of older encodings are there.
pub fn is_visible(character: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    character == ' '
        || character.is_ascii_graphic()
        || !matches!(character.general_category(), Control | Format | LineSeparator | ParagraphSeparator)
}

/// Whether a character is meaningless between the digits of a number: white space, hyphens, dashes, and invisible
/// characters other than controls (iOS copies U+202D and U+202C with a phone number).
pub fn is_separator(character: char) -> bool {
    let is_dash = matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    is_dash || character.is_whitespace() || !(character.is_control() || is_visible(character))
}

/// How many characters [`normalize_typed`] retains: more than any code or captcha has.
const MAX_TYPED_LENGTH: usize = 64;

/// Normalizes text that a person typed or copied from a message or an image: removes separators ([`is_separator`]) and
/// turns full-width forms into ASCII. Allocates only once, because the text may be a secret, and a reallocation would
/// leave a copy that is not zeroized.
pub(crate) fn normalize_typed(text: &str) -> String {
    let mut normalized = String::with_capacity(4 * MAX_TYPED_LENGTH);
    normalized.extend(text.nfkc().filter(|character| !is_separator(*character)).take(MAX_TYPED_LENGTH));
    normalized
}

/// The first invisible character, none of which is allowed in an identifier; `None` if all characters are visible.
pub fn find_invisible(text: &str) -> Option<char> {
    text.chars().find(|character| !is_visible(*character))
}

/// The first invisible character that is not allowed in personal data; `None` if there is none. The zero-width joiners
/// of emoji and of several scripts are allowed.
pub fn find_invisible_in_text(text: &str) -> Option<char> {
    let joiners = [ZERO_WIDTH_NON_JOINER, ZERO_WIDTH_JOINER];
    text.chars().find(|character| !is_visible(*character) && !joiners.contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_format_characters_are_not_visible() {
        for hidden in [
            '\0',
            '\n',
            '\t',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0001}',
            '\u{e007f}',
        ] {
            assert!(!is_visible(hidden), "{hidden:?}");
        }
        for visible in ['a', ' ', '~', 'é', '男', 'ü', '\u{301}', '\u{e863}', '\u{20000}', '😀', '\u{fe0f}'] {
            assert!(is_visible(visible), "{visible:?}");
        }
    }

    #[test]
    fn typed_text_loses_separators_and_is_truncated() {
        for text in [
            "629457",
            " 629 457 ",
            "629-457",
            "6\u{a0}2\u{200b}9\u{2009}4\u{feff}5\u{202d}7",
            "６２９－４５７",
            "629—457\r\n",
        ] {
            assert_eq!(normalize_typed(text), "629457", "{text:?}");
        }
        // No other character becomes an ASCII digit.
        for text in ["٦٢٩٤٥٧", "629.457", "629457\0", "x629457"] {
            assert_ne!(normalize_typed(text), "629457", "{text:?}");
        }
        let truncated = normalize_typed(&"9".repeat(100_000));
        assert_eq!((truncated.len(), truncated.capacity()), (MAX_TYPED_LENGTH, 4 * MAX_TYPED_LENGTH));
    }

    #[test]
    fn zero_width_joiners_are_allowed_in_texts_but_not_identifiers() {
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!((find_invisible_in_text(family), find_invisible(family)), (None, Some('\u{200d}')));
        assert_eq!(find_invisible_in_text("gpj\u{202e}exe"), Some('\u{202e}'));
    }
}
