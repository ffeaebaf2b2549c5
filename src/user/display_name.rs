//! The display name of a user. It is shown to other users as text, so it must not contain line breaks or
//! characters that change the text direction.

use unicode_normalization::UnicodeNormalization as _;

/// The maximum, in characters (Unicode code points).
pub const MAX_CHARS: usize = 64;

/// 1 to 64 characters, NFC, with white space collapsed and at least one visible character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

/// Why a display name is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisplayNameProblem {
    /// It has no visible character.
    #[error("Enter your name.")]
    Empty,
    /// It has more than [`MAX_CHARS`] characters.
    #[error("Use at most 64 characters for your name.")]
    TooLong,
    /// It has a control character, a line break, or a text direction override.
    #[error("Your name contains a character we can't display. Please retype it.")]
    Undisplayable,
}

impl DisplayName {
    /// Normalizes and checks what was typed.
    pub fn parse(typed: &str) -> Result<Self, DisplayNameProblem> {
        // A character has at most four bytes; twice that allows for white space around the name.
        if typed.len() > 8 * MAX_CHARS {
            return Err(DisplayNameProblem::TooLong);
        }
        let trimmed = typed.trim();
        if trimmed.chars().any(is_undisplayable) {
            return Err(DisplayNameProblem::Undisplayable);
        }
        let words: Vec<&str> = trimmed.split_whitespace().collect();
        let name: String = words.join(" ").nfc().collect();
        if name.chars().all(is_blank) {
            return Err(DisplayNameProblem::Empty);
        }
        if name.chars().count() > MAX_CHARS {
            return Err(DisplayNameProblem::TooLong);
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_undisplayable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}')
}

fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{AD}' | '\u{3164}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_accepted_and_normalized() {
        for (typed, name) in [
            ("Ada", "Ada"),
            ("  Ada \u{a0} Lovelace ", "Ada Lovelace"),
            ("José", "José"),
            ("محمد علي", "محمد علي"),
            ("李小龍", "李小龍"),
            ("O'Neil-Smith, Jr. <3", "O'Neil-Smith, Jr. <3"),
        ] {
            assert_eq!(DisplayName::parse(typed).map(|name| name.0), Ok(name.to_owned()));
        }
        assert!(DisplayName::parse(&"é".repeat(64)).is_ok());
    }

    #[test]
    fn undisplayable_names_are_rejected() {
        use DisplayNameProblem::*;
        for (typed, problem) in [
            ("", Empty),
            ("  \u{a0} ", Empty),
            ("\u{200B}\u{200D}", Empty),
            ("Ada\r\nBcc: eve@example.com", Undisplayable),
            ("Ada\u{202E}ecalevoL", Undisplayable),
            ("Ada\0", Undisplayable),
            ("\u{1b}[31mAda", Undisplayable),
        ] {
            assert_eq!(DisplayName::parse(typed), Err(problem), "{typed:?}");
        }
        assert_eq!(DisplayName::parse(&"é".repeat(65)), Err(TooLong));
    }
}
