//! Text that people see: which characters it may have.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Whether a character shows where it stands and changes nothing around it. Controls, formats (bidirectional overrides,
/// zero-width characters) and separators of lines and paragraphs do not: Unicode's Cc, Cf, Zl and Zp. Private use (Co)
/// does: rare Chinese characters of older encodings are there.
pub fn is_visible(character: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    character == ' '
        || character.is_ascii_graphic()
        || !matches!(character.general_category(), Control | Format | LineSeparator | ParagraphSeparator)
}

/// The first character that an identifier must not have.
pub fn hidden_in_identifier(text: &str) -> Option<char> {
    text.chars().find(|character| !is_visible(*character))
}

/// The first character that a text about a person must not have. The joiners that emoji and several scripts are
/// written with may be in it.
pub fn hidden_in_text(text: &str) -> Option<char> {
    let joiners = [ZERO_WIDTH_NON_JOINER, ZERO_WIDTH_JOINER];
    text.chars().find(|character| !is_visible(*character) && !joiners.contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_reorders_is_not_visible() {
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
    fn joiners_belong_to_texts_and_not_to_identifiers() {
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!((hidden_in_text(family), hidden_in_identifier(family)), (None, Some('\u{200d}')));
        assert_eq!(hidden_in_text("gpj\u{202e}exe"), Some('\u{202e}'));
    }
}
