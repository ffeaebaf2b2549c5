//! The list of breached passwords, and the usual ways to vary one of them (ASVS 5.0 V6.2.4, V6.2.12). The list
//! is part of the program, so that no password or part of its hash is sent to another service.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::spelling::{is_leet, readings};
use crate::unicode;

/// 128,658 passwords and words from breaches, in lower case: the first bytes of their SHA-256, sorted. Made by
/// `script/breached-passwords`; `docs/DECISIONS.md` names the sources.
static DIGESTS: &[u8] = include_bytes!("breached_passwords.bin");
/// With five bytes, one in eight million passwords that are not on the list counts as listed.
const DIGEST_BYTES: usize = 5;

/// No entry is longer, in bytes. So a long password costs no more than a short one.
const LONGEST_ENTRY: usize = 128;
/// A listed word with more other characters than these is a good password. Repetitions and sequences among them do
/// not count ([`unpredictable`]).
const MAX_ADDED: usize = 12;
/// How many digits and signs directly before, and directly after, the letters are tried as letters.
const MAX_LEET_AT_END: usize = 4;

/// Whether a password, in lower case, is on the list: as it is, without the digits and signs around it, repeated,
/// spelled out with signs between its letters, in several words, or with the usual substitutions of letters.
pub(super) fn is_breached(lower: &str) -> bool {
    let is_variant =
        |body: &Body<'_>| body.forms().iter().any(|form| units(form, body.room).any(is_listed));
    units(unicode::trim(lower), MAX_ADDED).flat_map(bodies).any(|body| is_variant(&body))
}

/// A part of a password that may be a word, with the digits and signs around it removed.
struct Body<'a> {
    text: &'a str,
    /// Whether no digit was removed.
    has_all_digits: bool,
    /// How many of [`MAX_ADDED`] characters are left for those between the letters.
    room: usize,
}

/// The text without the digits and signs at its ends. Those next to the letters may stand for letters, as in
/// `$ummer2024`, so all ways to divide them are returned. Without letters, the digits are the body.
fn bodies(text: &str) -> Vec<Body<'_>> {
    let after = |at: usize| text[at..].chars().next().map_or(at, |one| at + one.len_utf8());
    let first_digit = text.find(char::is_alphanumeric).unwrap_or(0);
    let last_digit = text.rfind(char::is_alphanumeric).map_or(text.len(), after);
    let (mut starts, mut ends) =
        (BTreeSet::from([0, first_digit]), BTreeSet::from([last_digit, text.len()]));
    if let (Some(first), Some(last)) =
        (text.find(char::is_alphabetic), text.rfind(char::is_alphabetic).map(after))
    {
        let is_leet = |(_, sign): &(usize, char)| is_leet(*sign);
        let before = text[..first].char_indices().rev().take_while(is_leet);
        starts.insert(first);
        starts.extend(before.take(MAX_LEET_AT_END).map(|(at, _)| at));
        let behind = text[last..].char_indices().take_while(is_leet);
        ends.insert(last);
        ends.extend(behind.take(MAX_LEET_AT_END).map(|(at, _)| after(last + at)));
    }
    let body = |(start, end): (usize, usize)| {
        let added = || text[..start].chars().chain(text[end..].chars());
        let has_all_digits = !added().any(char::is_numeric);
        let room = MAX_ADDED.checked_sub(unpredictable(added()))?;
        let text = text.get(start..end)?;
        Some(Body { text, has_all_digits, room })
    };
    let pairs = starts.iter().flat_map(|start| ends.iter().map(|end| (*start, *end)));
    pairs.filter_map(body).collect()
}

impl Body<'_> {
    /// The readings of the body, with and without what separates words or letters. Blanks are always removed. Other
    /// signs belong to the word, unless no digit is around it or the word is spelled out: `pass-word!` is a variant
    /// of `password`, but `o'neil-2026` is not one of `oneil`.
    fn forms(&self) -> Vec<Zeroizing<String>> {
        let only = |text: &str, is_kept: fn(char) -> bool| {
            Zeroizing::new(text.chars().filter(|one| is_kept(*one)).collect::<String>())
        };
        let mut forms = Vec::new();
        for reading in readings(self.text) {
            forms.push(only(&reading, |one| !one.is_whitespace()));
            if self.has_all_digits {
                forms.push(only(&reading, char::is_alphanumeric));
            }
            if is_spelled_out(&reading, self.room) {
                forms.push(only(&reading, char::is_alphabetic));
            }
            forms.push(reading);
        }
        forms.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        forms.dedup();
        forms
    }
}

/// Whether no two letters are next to each other, as in `p-a-s-s-w-o-r-d`.
fn is_spelled_out(text: &str, room: usize) -> bool {
    let is_single = |letters: &str| letters.chars().nth(1).is_none();
    text.split(|one: char| !one.is_alphabetic()).all(is_single) && signs_fit(text, room)
}

fn signs_fit(text: &str, room: usize) -> bool {
    unpredictable(text.chars().filter(|one| !one.is_alphabetic())) <= room
}

/// How many characters there are, without those that continue a repetition or a sequence: in `!!!!!!!!!`,
/// `2024 2024 2024` or `1234567890` the last three steps from a character to the next have occurred before.
fn unpredictable(characters: impl Iterator<Item = char>) -> usize {
    const STEPS: usize = 3;
    let codes: Vec<i64> = characters.map(|one| i64::from(u32::from(one))).collect();
    let steps: Vec<i64> = codes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let different = steps.windows(STEPS).collect::<BTreeSet<_>>().len();
    codes.len().min(STEPS) + different
}

fn is_listed(text: &str) -> bool {
    if text.len() > LONGEST_ENTRY {
        return false;
    }
    let digest = Sha256::digest(text.as_bytes());
    let (digests, _) = DIGESTS.as_chunks::<DIGEST_BYTES>();
    digests.binary_search_by(|listed| listed[..].cmp(&digest[..DIGEST_BYTES])).is_ok()
}

/// The text, every text of which it is a repetition, and the word that it repeats with blanks, or with up to `room`
/// other characters, between.
fn units(text: &str, room: usize) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let repeats = |length: &usize| {
        bytes.len().is_multiple_of(*length)
            && bytes.chunks(*length).all(|chunk| chunk == &bytes[..*length])
    };
    let lengths = (1..=bytes.len() / 2).filter(repeats).chain([bytes.len()]);
    let blanks = repeated_word(text, char::is_whitespace);
    let others = repeated_word(text, |one| !one.is_alphabetic()).filter(|_| signs_fit(text, room));
    lengths.filter_map(|length| text.get(..length)).chain(blanks).chain(others)
}

fn repeated_word(text: &str, is_separator: fn(char) -> bool) -> Option<&str> {
    let mut words = text.split(is_separator).filter(|word| !word.is_empty());
    let (first, second) = (words.next()?, words.next()?);
    (first == second && words.all(|word| word == first)).then_some(first)
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
            "summer2024–",
            "“summer”2024",
            "password12345678901234567890",
            "password!!!!!!!!!!!!!!!!!!!!",
            "password 2024 2024 2024 2024",
            "p-a-s-s-w-o-r-d",
            "p.a.s.s.w.o.r.d 2024!",
            "p-4-$-5-w-0-r-d",
            "p1a2s3s4w5o6r7d8",
            "horse 2024",
            "i love you!",
            "i love you 2024",
            "i-love-you!",
            "pass-word1",
            "monkey1 monkey2 monkey3",
            "$ummer24 $ummer24",
            "12345678 12345678",
            "1234-5678",
            "!!1q2w3e4r!!",
        ] {
            assert!(is_breached(breached), "{breached}");
        }
    }

    #[test]
    fn signs_that_stand_for_letters_are_undone_at_the_ends_too() {
        for breached in [
            "$ummer2024",
            "5umm3r2024!",
            "@utumn2024!",
            "@dmin2024!!",
            "$ecret2024!",
            "4ndrew2024!",
            "$tarwars99!",
            "$uperman2024",
            "3ngland2024",
            "we1come2024!",
            "app1es2024!!",
            "footba11 2024!",
            "!!$ummer!!",
            "99 4ndrew",
            "2024$ummer",
            "!loveyou2024",
            "1oveyou2024!",
            "bu$ine$$2024",
            "f1r3f1y2024",
            "8aseball2024!",
            "w1ll14m 2024",
        ] {
            assert!(is_breached(breached), "{breached}");
        }
    }

    #[test]
    fn additions_and_separators_can_make_a_good_password() {
        for good in [
            "8264 9173 tiger 5501 7382 4410",
            "tiger 8264 9173 5501",
            "t 8264 i 9173 g 5501 e 7382 r",
            "o'neil-2026",
            "o’brien 1999!",
            "will.i.am 2026",
            "st.john-1987",
            "8264 monkey 9173 monkey 5501 7382",
        ] {
            assert!(!is_breached(good), "{good}");
        }
    }

    #[test]
    fn repetitions_and_sequences_are_predictable() {
        for (text, count) in [
            ("", 0),
            ("9", 1),
            ("2026!!", 6),
            ("!!!!!!!!!!", 4),
            ("123456789", 4),
            ("9173 5501", 9),
        ] {
            assert_eq!(unpredictable(text.chars()), count, "{text}");
        }
        assert!(unpredictable(" 2024 2024 2024 2024 2024".chars()) <= MAX_ADDED);
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
            ("ab1 ab1", vec!["ab1 ab1", "ab1", "ab"]),
            ("ab ab cd", vec!["ab ab cd"]),
            ("", vec![""]),
        ] {
            assert_eq!(units(text, MAX_ADDED).collect::<Vec<_>>(), found);
        }
    }
}
