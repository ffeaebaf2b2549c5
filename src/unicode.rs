//! Characters that show nothing, by the properties of the Unicode Character Database (UAX #44), so that no
//! list of them has to be maintained.

use icu_properties::props::{
    BinaryProperty as _, DefaultIgnorableCodePoint, EnumeratedProperty as _, GeneralCategory,
};

/// White space, control characters, format characters (Cf) and code points that are default-ignorable, such as
/// U+200B, U+FEFF, U+00AD, variation selectors and Hangul fillers.
pub fn is_invisible(character: char) -> bool {
    character.is_whitespace() || character.is_control() || is_format(character)
}

/// Format characters and default-ignorable code points. Two texts that differ only in these look the same.
pub fn is_format(character: char) -> bool {
    !character.is_ascii()
        && (GeneralCategory::for_char(character) == GeneralCategory::Format
            || DefaultIgnorableCodePoint::for_char(character))
}

/// Removes white space and format characters from both ends: a copied text often brings them along. Control
/// characters that are not white space stay, for the caller to refuse.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_whitespace() || is_format(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_recognized_by_their_properties() {
        for character in [
            ' ',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{206f}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
            '\0',
            '\u{85}',
        ] {
            assert!(is_invisible(character), "{character:?}");
        }
        for character in ['a', '1', '-', '@', 'é', 'ß', 'م', '李', '\u{301}', '🛎', '%'] {
            assert!(!is_invisible(character), "{character:?}");
        }
    }

    #[test]
    fn only_the_ends_are_trimmed() {
        assert_eq!(trim("\u{feff}\u{200b} a\u{200b}b \u{2060}\n"), "a\u{200b}b");
        assert_eq!(trim("\0a"), "\0a");
        assert_eq!(trim("\u{200b} \u{feff}"), "");
    }
}
