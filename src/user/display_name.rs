//! What pages call somebody. Shown to others as text, so it holds nothing that turns a line around or
//! breaks it.

use unicode_normalization::UnicodeNormalization as _;

/// In characters.
pub const LONGEST: usize = 64;

/// 1 to 64 characters, NFC, white space collapsed, nothing invisible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisplayNameProblem {
    /// Nothing visible.
    #[error("Enter your name.")]
    Empty,
    /// Too long.
    #[error("Use at most 64 characters for your name.")]
    TooLong,
    /// Control characters, line breaks, text direction overrides.
    #[error("Your name contains a character we can't display. Please retype it.")]
    Unshowable,
}

impl DisplayName {
    /// Takes what was typed.
    pub fn parse(typed: &str) -> Result<Self, DisplayNameProblem> {
        // Four bytes a character, and as many again for white space around it.
        if typed.len() > 8 * LONGEST {
            return Err(DisplayNameProblem::TooLong);
        }
        let trimmed = typed.trim();
        if trimmed.chars().any(is_unshowable) {
            return Err(DisplayNameProblem::Unshowable);
        }
        let words: Vec<&str> = trimmed.split_whitespace().collect();
        let name: String = words.join(" ").nfc().collect();
        if name.chars().all(is_blank) {
            return Err(DisplayNameProblem::Empty);
        }
        if name.chars().count() > LONGEST {
            return Err(DisplayNameProblem::TooLong);
        }
        Ok(Self(name))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_unshowable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}')
}

fn is_blank(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(letter, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{AD}' | '\u{3164}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_pass() {
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
    fn what_can_not_be_shown_is_refused() {
        use DisplayNameProblem::*;
        for (typed, problem) in [
            ("", Empty),
            ("  \u{a0} ", Empty),
            ("\u{200B}\u{200D}", Empty),
            ("Ada\r\nBcc: eve@example.com", Unshowable),
            ("Ada\u{202E}ecalevoL", Unshowable),
            ("Ada\0", Unshowable),
            ("\u{1b}[31mAda", Unshowable),
        ] {
            assert_eq!(DisplayName::parse(typed), Err(problem), "{typed:?}");
        }
        assert_eq!(DisplayName::parse(&"é".repeat(65)), Err(TooLong));
    }
}
