//! The list of breached passwords, and the usual ways to vary one of them (ASVS 5.0 V6.2.4, V6.2.12). The list
//! is part of the program, so that no password or part of its hash is sent to another service.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::unicode;

/// 128,658 passwords and words from breaches, in lower case: the first bytes of their SHA-256, sorted. Made by
/// `script/breached-passwords`; `docs/DECISIONS.md` names the sources.
static DIGESTS: &[u8] = include_bytes!("breached_passwords.bin");
/// With five bytes, one in eight million passwords that are not on the list counts as listed.
const DIGEST_BYTES: usize = 5;

/// Whether a password, in lower case, is on the list: as it is, without the blanks around it, repeated, with
/// digits and punctuation around or between its letters, or with the usual substitutions of letters.
pub(super) fn is_breached(lower: &str) -> bool {
    let text = unicode::trim(lower);
    let (plain, plain_stem) = (undo_leetspeak(text), undo_leetspeak(stem(text)));
    let only = |text: &str, is_kept: fn(char) -> bool| {
        Zeroizing::new(text.chars().filter(|character| is_kept(*character)).collect::<String>())
    };
    let letters = [text, &plain].map(|form| only(form, char::is_alphabetic));
    let joined = only(text, char::is_alphanumeric);
    let mut forms = BTreeSet::new();
    for form in [text, &plain, &plain_stem, &letters[0], &letters[1], &joined] {
        for form in [form, stem(form)] {
            forms.extend(units(form).flat_map(|unit| [unit, stem(unit)]));
        }
    }
    forms.into_iter().any(is_listed)
}

fn is_listed(text: &str) -> bool {
    let digest = Sha256::digest(text.as_bytes());
    let (digests, _) = DIGESTS.as_chunks::<DIGEST_BYTES>();
    digests.binary_search_by(|listed| listed[..].cmp(&digest[..DIGEST_BYTES])).is_ok()
}

/// The text without the digits, punctuation and blanks around it.
fn stem(text: &str) -> &str {
    text.trim_matches(|character: char| {
        character.is_ascii_digit()
            || character.is_ascii_punctuation()
            || unicode::is_invisible(character)
    })
}

/// The text, and every text of which it is a repetition.
fn units(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let repeats = |length: &usize| {
        bytes.len().is_multiple_of(*length)
            && bytes.chunks(*length).all(|chunk| chunk == &bytes[..*length])
    };
    let lengths = (1..=bytes.len() / 2).filter(repeats).chain([bytes.len()]);
    lengths.filter_map(|length| text.get(..length))
}

/// Undoes the usual substitutions of letters by digits and punctuation.
pub(super) fn undo_leetspeak(text: &str) -> Zeroizing<String> {
    let letter = |character| match character {
        '@' | '4' => 'a',
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '$' | '5' => 's',
        '7' => 't',
        other => other,
    };
    Zeroizing::new(text.chars().map(letter).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// The most common passwords of at least 8 characters, in lower case, one per line: the merged lists of
    /// Django (BSD-3-Clause) and zxcvbn (MIT).
    const COMMON: &[u8] = include_bytes!("common_passwords.txt.gz");

    fn common_passwords() -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(COMMON).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_list_is_sorted_and_has_more_than_100_000_entries() {
        let (digests, rest) = DIGESTS.as_chunks::<DIGEST_BYTES>();
        assert!(rest.is_empty() && digests.len() > 100_000, "{}", digests.len());
        assert!(digests.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn every_common_password_is_breached_alone_and_in_its_variants() {
        let text = common_passwords();
        assert!(text.lines().count() > 16_000);
        for word in text.lines() {
            assert!(is_breached(word), "{word}");
        }
        for word in text.lines().step_by(20) {
            let mut variants = vec![format!(" {word}\u{a0}"), format!("{word}{word}")];
            if word.chars().all(char::is_alphabetic) {
                variants.extend([format!("{word} {word} {word}"), format!("{word}2024!")]);
            }
            for variant in variants {
                assert!(is_breached(&variant), "{variant}");
            }
        }
    }

    #[test]
    fn stems_of_five_letters_are_breached_with_digits_and_signs_around_them() {
        for breached in [
            "summer2024!",
            "!!winter!!",
            "1dragon9",
            "monkeymonkey",
            "monkey-monkey",
            "summer1!summer1!",
            "p@ssw0rd2024!",
            "4dm1nistrator99",
            "p-a-s-s-w-o-r-d",
            "horse 2024",
            "i love you!",
            "12345678 12345678",
        ] {
            assert!(is_breached(breached), "{breached}");
        }
    }

    #[test]
    fn what_is_not_listed_passes() {
        for good in
            ["", "correct horse battery staple", "tr0ubador&3x", "9041 5527 3318", "ключ от номера"]
        {
            assert!(!is_breached(good), "{good}");
        }
        // A digest too short, or a wrong search, would show here.
        let refused = (0..50_000).filter(|number| is_listed(&format!("xq{number}-v7k"))).count();
        assert_eq!(refused, 0);
    }

    #[test]
    fn the_units_of_a_repetition_are_found() {
        for (text, found) in [
            ("aaaa", vec!["a", "aa", "aaaa"]),
            ("abab", vec!["ab", "abab"]),
            ("ababa", vec!["ababa"]),
            ("ключключ", vec!["ключ", "ключключ"]),
            ("", vec![""]),
        ] {
            assert_eq!(units(text).collect::<Vec<_>>(), found);
        }
    }
}
