//! The display name of a user. It is shown to other users as text, so it must be visible, stay on its line, and
//! not change the direction of the text around it. What a character does is decided by its properties in the
//! Unicode Character Database.

use icu_properties::props::{
    BinaryProperty as _, CanonicalCombiningClass, Emoji, EmojiModifier, EnumeratedProperty as _,
    ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, Ideographic, JoiningType, Script,
    VariationSelector,
};
use unicode_normalization::UnicodeNormalization as _;

use crate::language::Text;
use crate::unicode;

/// The maximum, in characters (Unicode code points).
pub const MAX_CHARS: usize = 64;
/// The maximum of marks on one letter, after decomposition (NFD). Vietnamese needs two, Hebrew with cantillation
/// three, and Kannada a vowel of three parts with an anusvara.
const MAX_MARKS: usize = 4;

/// Stands in a text for an embedded object, such as an image, that was not copied with it.
const OBJECT_REPLACEMENT: char = '\u{FFFC}';

/// 1 to 64 characters, NFC, with white space collapsed and at least one visible character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

/// Why a display name is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisplayNameProblem {
    /// It has no visible character.
    #[error("{}", Text::key("name-empty"))]
    Empty,
    /// It has more than [`MAX_CHARS`] characters.
    #[error("{}", Text::key("name-too-long"))]
    TooLong,
    /// It has a control or format character, an unassigned one, a line break, or too many marks on one letter.
    #[error("{}", Text::key("name-undisplayable"))]
    Undisplayable,
}

impl DisplayName {
    /// Normalizes and checks what was typed.
    pub fn parse(typed: &str) -> Result<Self, DisplayNameProblem> {
        // A character has at most four bytes; twice that allows for white space around the name.
        if typed.len() > 8 * MAX_CHARS {
            return Err(DisplayNameProblem::TooLong);
        }
        let composed: Vec<char> = typed.trim().nfc().collect();
        if !composed.iter().copied().any(is_visible) {
            return Err(DisplayNameProblem::Empty);
        }
        // Composition would hide a mark in its letter.
        let decomposed: Vec<char> = typed.trim().nfd().collect();
        if (0..composed.len()).any(|at| is_undisplayable(&composed, at))
            || (0..decomposed.len()).any(|at| is_excessive_mark(&decomposed, at))
        {
            return Err(DisplayNameProblem::Undisplayable);
        }
        let composed = String::from_iter(composed);
        let name = composed.split_whitespace().collect::<Vec<_>>().join(" ");
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

/// Whether the character at `at` cannot be shown as text: a control or format character, or a default-ignorable
/// code point, except where Unicode gives it a visible effect; a line break; or a code point that stands for no
/// character.
fn is_undisplayable(name: &[char], at: usize) -> bool {
    let character = name[at];
    let before = &name[..at];
    match character {
        '\u{200C}' | '\u{200D}' => !is_joiner_visible(before, character, &name[at + 1..]),
        _ if VariationSelector::for_char(character) => !has_variants(before),
        _ if unicode::is_format(character) || character.is_control() => true,
        _ => has_no_glyph(character),
    }
}

/// A line break, a code point to which Unicode assigns no character (an unassigned one, a noncharacter, or one for
/// private use), or one that only stands for something that could not be converted to text.
fn has_no_glyph(character: char) -> bool {
    use GeneralCategory::{LineSeparator, ParagraphSeparator, PrivateUse, Unassigned};
    matches!(character, OBJECT_REPLACEMENT | char::REPLACEMENT_CHARACTER)
        || matches!(
            GeneralCategory::for_char(character),
            LineSeparator | ParagraphSeparator | PrivateUse | Unassigned
        )
}

fn is_mark(character: char) -> bool {
    GeneralCategoryGroup::Mark.contains(GeneralCategory::for_char(character))
}

/// Whether the character at `at` is a mark without a base, or one beyond [`MAX_MARKS`]. Joiners and variation
/// selectors between the marks do not begin another base.
fn is_excessive_mark(decomposed: &[char], at: usize) -> bool {
    let mark = decomposed[at];
    if !is_mark(mark) || is_joiner_or_selector(mark) {
        return false;
    }
    let before = &decomposed[..at];
    let is_base = |one: &char| !is_mark(*one) && !is_joiner_or_selector(*one);
    let Some(base) = before.iter().rposition(is_base) else { return true };
    let counts_apart = has_many_marks(before[base]);
    let counts_with = |one: &&char| {
        let is_counted = is_mark(**one) && !is_joiner_or_selector(**one);
        is_counted && (!counts_apart || is_spacing(**one) == is_spacing(mark))
    };
    before[base].is_whitespace() || before[base..].iter().filter(counts_with).count() >= MAX_MARKS
}

/// The scripts whose syllables need more than [`MAX_MARKS`]: Burmese up to four over and under the letter, beside two
/// or three spacing ones. In these, spacing marks are counted apart from the others.
fn has_many_marks(base: char) -> bool {
    matches!(Script::for_char(base), Script::Myanmar | Script::TaiTham)
}

/// Spacing marks are drawn beside their base, others over or under it.
fn is_spacing(mark: char) -> bool {
    GeneralCategory::for_char(mark) == GeneralCategory::SpacingMark
}

/// Variation selectors are marks too, but nothing is drawn for them.
fn is_joiner_or_selector(character: char) -> bool {
    matches!(character, '\u{200C}' | '\u{200D}') || VariationSelector::for_char(character)
}

/// A variation selector changes the emoji, the ideograph or the Mongolian letter directly before it.
fn has_variants(before: &[char]) -> bool {
    before.last().is_some_and(|base| {
        Emoji::for_char(*base)
            || Ideographic::for_char(*base)
            || Script::for_char(*base) == Script::Mongolian
    })
}

/// The two joiners change how the letters beside them are drawn after a virama, as in Indic scripts, and
/// ZWNJ between letters that would be joined, as in Persian (RFC 5892, appendix A). ZWJ also joins emoji
/// (UTS #51).
fn is_joiner_visible(before: &[char], joiner: char, after: &[char]) -> bool {
    let Some(last) = before.last() else { return false };
    if CanonicalCombiningClass::for_char(*last) == CanonicalCombiningClass::Virama {
        return true;
    }
    let joining = |character: &char| {
        let kind = JoiningType::for_char(*character);
        (kind != JoiningType::Transparent).then_some(kind)
    };
    if joiner == '\u{200C}' {
        const LEFT: [JoiningType; 2] = [JoiningType::LeftJoining, JoiningType::DualJoining];
        const RIGHT: [JoiningType; 2] = [JoiningType::RightJoining, JoiningType::DualJoining];
        let left = before.iter().rev().find_map(joining);
        let right = after.iter().find_map(joining);
        return left.is_some_and(|kind| LEFT.contains(&kind))
            && right.is_some_and(|kind| RIGHT.contains(&kind));
    }
    let is_modifier =
        |one: &&char| VariationSelector::for_char(**one) || EmojiModifier::for_char(**one);
    let base = before.iter().rev().find(|one| !is_modifier(one));
    base.is_some_and(|base| ExtendedPictographic::for_char(*base))
        && after.first().is_some_and(|next| ExtendedPictographic::for_char(*next))
}

/// Blank characters that no property sets apart from visible ones: the Braille pattern without dots, the blank
/// Egyptian hieroglyphs, the musical null notehead, and the placeholder of an embedded object.
const BLANK: [char; 5] = ['\u{2800}', '\u{13441}', '\u{13442}', '\u{1D159}', OBJECT_REPLACEMENT];

/// Whether the character is visible without another one.
fn is_visible(character: char) -> bool {
    const OTHER: GeneralCategoryGroup = GeneralCategoryGroup::Other;
    const INVISIBLE: GeneralCategoryGroup =
        OTHER.union(GeneralCategoryGroup::Separator).union(GeneralCategoryGroup::Mark);
    !INVISIBLE.contains(GeneralCategory::for_char(character))
        && !unicode::is_format(character)
        && !BLANK.contains(&character)
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
            ("Nguye\u{302}\u{303}n Thi\u{323}", "Nguyễn Thị"),
            ("👩\u{200D}🚀 Sally ❤\u{FE0F}", "👩\u{200D}🚀 Sally ❤\u{FE0F}"),
            ("👩🏽\u{200D}💻", "👩🏽\u{200D}💻"),
            ("葛\u{E0100}城", "葛\u{E0100}城"),
            ("علی\u{200C}رضا", "علی\u{200C}رضا"),
            ("ශ්\u{200D}රී", "ශ්\u{200D}රී"),
            ("क्\u{200C}ष", "क्\u{200C}ष"),
            ("מֹשֶׁה", "מֹשֶׁה"),
            ("འཇམ་དབྱངས", "འཇམ་དབྱངས"),
            ("⠁⠙⠁", "⠁⠙⠁"),
            ("မျှို့ ကြော့်း", "မျှို့ ကြော့်း"),
            ("ᨠᩖᩮᩬᩥ᩶ᩋ", "ᨠᩖᩮᩬᩥ᩶ᩋ"),
            ("ಕೋಂ", "ಕೋಂ"),
            ("ශ්‍රෝ", "ශ්‍රෝ"),
            ("\u{1EA5}\u{316}\u{316}", "\u{1EA5}\u{316}\u{316}"),
            ("ശ്രീകൃഷ്ണൻ", "ശ്രീകൃഷ്ണൻ"),
            ("क्ष्म्य", "क्ष्म्य"),
            ("1\u{FE0F}\u{20E3}", "1\u{FE0F}\u{20E3}"),
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
            ("\u{2800}", Empty),
            ("\u{2800}\u{3164}\u{115F}\u{FFA0}", Empty),
            ("\u{E0041}\u{E0064}\u{E0061}", Empty),
            ("\u{FE0F}\u{34F}", Empty),
            ("\u{301}\u{302}", Empty),
            ("\u{E000}", Empty),
            ("\u{1D159}", Empty),
            ("\u{13441}\u{13442}", Empty),
            ("\u{FFFC}", Empty),
            ("\u{FFFC} \u{FFFC}\u{2800}", Empty),
            ("Ada\u{FFFC}", Undisplayable),
            ("\u{FFFD}", Undisplayable),
            ("Jos\u{FFFD}", Undisplayable),
            ("Z\u{301}\u{301}\u{301}\u{301}\u{301}", Undisplayable),
            ("a\u{302}\u{301}\u{301}\u{301}\u{301}\u{301}", Undisplayable),
            ("\u{1EA5}\u{301}\u{301}\u{301}", Undisplayable),
            ("Z\u{316}\u{316}\u{316}\u{316}\u{903}", Undisplayable),
            ("क\u{903}\u{903}\u{94D}\u{94D}\u{94D}", Undisplayable),
            ("မ\u{103B}\u{103B}\u{103B}\u{103B}\u{103B}", Undisplayable),
            ("Ada\u{E000}", Undisplayable),
            ("Ada\u{10FFFD}", Undisplayable),
            ("Ada\u{378}", Undisplayable),
            ("Ada\u{FDD0}", Undisplayable),
            ("Ada\u{1FFFE}", Undisplayable),
            ("\u{903}Ada", Undisplayable),
            ("Ada \u{903}", Undisplayable),
            ("\u{301}Ada", Undisplayable),
            ("Ada \u{301}", Undisplayable),
            ("Ada\u{200B}", Undisplayable),
            ("A\u{AD}da", Undisplayable),
            ("A\u{200D}da", Undisplayable),
            ("A\u{200C}da", Undisplayable),
            ("Ada\u{FE0F}", Undisplayable),
            ("Ada\u{115F}", Undisplayable),
            ("Ada\u{3164}Lovelace", Undisplayable),
            ("Ada\u{E0041}", Undisplayable),
            ("🏴\u{E0067}\u{E007F}", Undisplayable),
            ("👩\u{200D}", Undisplayable),
            ("❤\u{FE0F}\u{FE0F}", Undisplayable),
            ("Ada\u{200E}", Undisplayable),
            ("Ada\u{2028}Lovelace", Undisplayable),
            ("Z\u{315}\u{316}\u{317}\u{318}\u{319}", Undisplayable),
            ("Ada\r\nBcc: eve@example.com", Undisplayable),
            ("Ada\u{202E}ecalevoL", Undisplayable),
            ("Ada\0", Undisplayable),
            ("\u{1b}[31mAda", Undisplayable),
        ] {
            assert_eq!(DisplayName::parse(typed), Err(problem), "{typed:?}");
        }
        assert_eq!(DisplayName::parse(&"é".repeat(65)), Err(TooLong));
        let marked = |count: usize| DisplayName::parse(&format!("Z{}", "\u{316}".repeat(count)));
        assert!(marked(4).is_ok());
        assert_eq!(marked(5), Err(Undisplayable));
        assert_eq!(marked(63), Err(Undisplayable));
        // Joiners and variation selectors between the marks, and spacing marks.
        for (marks, count) in [
            ("\u{94D}\u{200D}", 31),
            ("\u{94D}\u{200C}", 5),
            ("\u{334}\u{334}\u{334}\u{94D}\u{200D}", 12),
            ("\u{903}", 63),
            ("\u{903}", 5),
            ("\u{903}\u{94D}\u{200D}", 5),
        ] {
            let name = format!("क{}", marks.repeat(count));
            assert_eq!(DisplayName::parse(&name), Err(Undisplayable), "{name:?}");
        }
        let name = format!("❤{}", "\u{FE0F}\u{334}".repeat(5));
        assert_eq!(DisplayName::parse(&name), Err(Undisplayable));
    }
}
