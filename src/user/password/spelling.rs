//! The spellings in which one word is recognized. A password, the list and the words of its context are compared in
//! all of them; the hash is computed from what was typed.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use zeroize::Zeroizing;

use crate::unicode;

/// As many of the signs that stand for two letters are read independently of each other; the others are read like
/// the last of these. It bounds the number of readings.
const MAX_AMBIGUOUS: usize = 3;

/// Lower case, without format characters, and with compatibility characters, such as full-width letters, replaced by
/// the usual ones (NFKC).
pub(super) fn fold(text: &str) -> Zeroizing<String> {
    let visible = text.chars().filter(|character| !unicode::is_format(*character));
    let compatible = Zeroizing::new(visible.nfkc().collect::<String>());
    Zeroizing::new(compatible.to_lowercase())
}

/// A folded text as it is, without accents, and with two letters for an umlaut: `müller`, `muller`, `mueller`.
pub(super) fn spellings(folded: &str) -> Vec<Zeroizing<String>> {
    let two_letters = Zeroizing::new(replace(folded, |character| match character {
        'ä' => Some("ae"),
        'ö' | 'ø' => Some("oe"),
        'ü' => Some("ue"),
        'å' => Some("aa"),
        _ => None,
    }));
    let mut all = vec![Zeroizing::new(folded.to_owned()), without_accents(folded)];
    all.push(without_accents(&two_letters));
    all.dedup();
    all
}

/// Letters with a stroke and ligatures have no decomposition in Unicode.
fn without_accents(text: &str) -> Zeroizing<String> {
    let letters = text.nfd().filter(|character| !is_combining_mark(*character)).nfc();
    let letters = Zeroizing::new(letters.collect::<String>());
    Zeroizing::new(replace(&letters, |character| match character {
        'ß' => Some("ss"),
        'æ' => Some("ae"),
        'œ' => Some("oe"),
        'þ' => Some("th"),
        'ø' => Some("o"),
        'ł' => Some("l"),
        'đ' | 'ð' => Some("d"),
        'ħ' => Some("h"),
        'ŧ' => Some("t"),
        'ı' => Some("i"),
        _ => None,
    }))
}

fn replace(text: &str, replacement: fn(char) -> Option<&'static str>) -> String {
    let mut replaced = String::with_capacity(2 * text.len());
    for character in text.chars() {
        match replacement(character) {
            Some(letters) => replaced.push_str(letters),
            None => replaced.push(character),
        }
    }
    replaced
}

/// The text, and its readings with letters for the digits and signs that look like them. All have the same length
/// in bytes.
pub(super) fn readings(text: &str) -> Vec<Zeroizing<String>> {
    let is_ambiguous = |character: &char| leet_letters(*character).is_some_and(|(a, b)| a != b);
    let ambiguous = text.chars().filter(is_ambiguous).count().min(MAX_AMBIGUOUS);
    let read = |choice: usize| {
        let mut earlier = 0;
        let read_one = |character: char| match leet_letters(character) {
            None => character,
            Some((first, second)) if first == second => first,
            Some((first, second)) => {
                let bit = earlier.min(MAX_AMBIGUOUS - 1);
                earlier += 1;
                if choice & (1 << bit) == 0 { first } else { second }
            }
        };
        Zeroizing::new(text.chars().map(read_one).collect::<String>())
    };
    let mut all = vec![Zeroizing::new(text.to_owned())];
    all.extend((0..1 << ambiguous).map(read));
    all.dedup();
    all
}

/// Whether a digit or a sign is often written for a letter.
pub(super) fn is_leet(character: char) -> bool {
    leet_letters(character).is_some()
}

/// The two letters for which a digit or a sign is written; the same one twice for most. The usual substitutions, as
/// zxcvbn has them.
fn leet_letters(character: char) -> Option<(char, char)> {
    Some(match character {
        '@' | '4' => ('a', 'a'),
        '8' => ('b', 'b'),
        '(' => ('c', 'c'),
        '3' => ('e', 'e'),
        '6' | '9' => ('g', 'g'),
        '1' | '!' | '|' => ('i', 'l'),
        '0' => ('o', 'o'),
        '$' | '5' => ('s', 's'),
        '7' | '+' => ('t', 't'),
        '2' => ('z', 'z'),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[Zeroizing<String>]) -> Vec<&str> {
        texts.iter().map(|text| text.as_str()).collect()
    }

    #[test]
    fn accents_and_invisible_characters_do_not_make_another_word() {
        for (typed, spelled) in [
            ("Acme", vec!["acme"]),
            ("a\u{200b}c\u{ad}m\u{2060}e", vec!["acme"]),
            ("Ａｃｍｅ", vec!["acme"]),
            ("ACM\u{c9}", vec!["acmé", "acme"]),
            ("Mu\u{200b}\u{308}ller", vec!["müller", "muller", "mueller"]),
            ("Zoë", vec!["zoë", "zoe"]),
            ("Łódź", vec!["łódź", "lodz"]),
            ("Straße", vec!["straße", "strasse"]),
            ("Jørgen", vec!["jørgen", "jorgen", "joergen"]),
            ("김철수", vec!["김철수"]),
        ] {
            assert_eq!(all(&spellings(&fold(typed))), spelled, "{typed}");
        }
    }

    #[test]
    fn signs_are_read_as_each_letter_that_they_stand_for() {
        assert_eq!(all(&readings("plain")), ["plain"]);
        assert_eq!(all(&readings("@pp7e")), ["@pp7e", "appte"]);
        assert_eq!(all(&readings("p1xe!")), ["p1xe!", "pixei", "plxei", "pixel", "plxel"]);
        assert_eq!(readings(&"1".repeat(1024)).len(), 9);
    }
}
