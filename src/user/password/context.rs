//! Words that an attacker who aims at one account tries first: those of the email, of the name and of the site
//! (NIST SP 800-63B-4, 3.1.1.2).

use std::ops::Range;

use zeroize::Zeroizing;

use super::spelling::{fold, readings, spellings};

/// Words up to this length occur in many good passwords by chance.
const LONGEST_SHORT_WORD: usize = 4;
/// A name of fewer characters does not count where it is only one of several words, such as initials.
const SHORTEST_NAME: usize = 3;

/// Whose words a password contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Email,
    Name,
    Site,
}

/// What a new password must not contain.
#[derive(Debug, Clone, Copy)]
pub struct PasswordContext<'a> {
    /// As typed.
    pub email: &'a str,
    /// As typed.
    pub display_name: &'a str,
    /// The name of the site.
    pub site_name: &'a str,
    /// The host name of the site.
    pub host: &'a str,
}

impl PasswordContext<'_> {
    /// What of the context a folded password contains.
    pub(super) fn find_in(&self, lower: &str) -> Option<Part> {
        let passwords: Vec<_> =
            spellings(lower).iter().map(|spelling| readings(spelling)).collect();
        let contains = |word: &str, shortest: usize| {
            passwords.iter().any(|password| contains_word(password, word, shortest))
        };
        let contains_whole = |text: &str, shortest: usize| {
            spellings(&fold(text)).iter().any(|text| contains(text.trim(), shortest))
        };
        let contains_any = |text: &str, shortest: usize| {
            let in_words = |text: &str| words(text).any(|word| contains(word, shortest));
            contains_whole(text, shortest)
                || spellings(&fold(text)).iter().any(|text| in_words(text))
        };
        let local = self.email.rsplit_once('@').map_or(self.email, |(local, _)| local);
        if contains_whole(self.email, SHORTEST_NAME) || contains_whole(local, SHORTEST_NAME) {
            return Some(Part::Email);
        }
        if contains_any(self.display_name, SHORTEST_NAME) {
            return Some(Part::Name);
        }
        if contains_any(local, SHORTEST_NAME) {
            return Some(Part::Email);
        }
        // An article or a preposition of a longer name occurs in many passphrases.
        let is_one_word = words(&fold(self.site_name)).nth(1).is_none();
        let shortest = if is_one_word { SHORTEST_NAME } else { LONGEST_SHORT_WORD };
        // A host without a dot, such as "localhost", can occur in a good passphrase.
        let contains_host = self.host.contains('.') && contains_whole(self.host, SHORTEST_NAME);
        if contains_host || contains_any(self.site_name, shortest) {
            return Some(Part::Site);
        }
        None
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether a password contains `word` in one of its readings, of which the first is the password itself. A word of
/// up to four characters counts only if it makes up more than half of the letters, or if it is a whole word and has
/// at least `shortest` characters.
fn contains_word(readings: &[Zeroizing<String>], word: &str, shortest: usize) -> bool {
    let length = word.chars().count();
    let Some(typed) = readings.first() else { return false };
    if length < 2 || !word.contains(char::is_alphanumeric) {
        return false;
    }
    let letters_in = |text: &str| text.chars().filter(|one| one.is_alphabetic()).count();
    readings.iter().any(|reading| {
        let found = reading.match_indices(word).map(|(at, _)| at..at + word.len());
        // A number is not a word because its digits look like letters.
        let is_meant =
            |at: &Range<usize>| letters_in(&typed[at.clone()]) > 0 || &typed[at.clone()] == word;
        let found: Vec<_> = found.filter(is_meant).collect();
        let covered: usize = found.iter().map(|at| letters_in(&typed[at.clone()])).sum();
        let is_most = found.len() * length > letters_in(typed) - covered;
        let mut whole = found.iter().filter(|at| is_whole_word(typed, (*at).clone(), word));
        !found.is_empty()
            && (length > LONGEST_SHORT_WORD
                || is_most
                || (length >= shortest && whole.next().is_some()))
    })
}

/// Whether the `word` that was found at `at` is not a part of a longer word or number. The characters around it are
/// taken as typed: digits after a word are an addition to it, although they look like letters.
fn is_whole_word(typed: &str, at: Range<usize>, word: &str) -> bool {
    let belong_together = |pair: (Option<char>, Option<char>)| match pair {
        (Some(a), Some(b)) => {
            a.is_alphabetic() && b.is_alphabetic() || a.is_numeric() && b.is_numeric()
        }
        _ => false,
    };
    let before = typed[..at.start].chars().next_back();
    let after = typed[at.end..].chars().next();
    !belong_together((before, word.chars().next()))
        && !belong_together((word.chars().next_back(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(email: &str, display_name: &str, site_name: &str, typed: &str) -> Option<Part> {
        let context = PasswordContext { email, display_name, site_name, host: "desk.example.com" };
        context.find_in(&fold(typed))
    }

    #[test]
    fn the_words_of_the_sites_name_are_refused_and_no_other_name() {
        for (site, password) in [
            ("Acme", "acme2026!"),
            ("Acme", "my acme lamp"),
            ("Acme", "4cm3-lamp-77"),
            ("Acme", "4cm32026!!"),
            ("Acme", "AcmeAcme77"),
            ("Grand Hotel", "hotelier in june"),
            ("Grand Hotel", "at the grand tour"),
            ("HP", "hp2026!!"),
            ("Frontdesk", "my frontdesk lamp"),
            ("Bücherei", "in der bücherei 7"),
            ("Acme", "at desk.example.com"),
        ] {
            assert_eq!(
                check("x@example.com", "Xi", site, password),
                Some(Part::Site),
                "{site}: {password}"
            );
        }
        for (site, password) in [
            ("Acme", "my frontdesk lamp"),
            ("Acme", "pacmen eat dots"),
            ("The House of Art", "seven umbrellas in the hall"),
            ("HP", "my hp printer is out of ink"),
            ("Frontdesk", "the front of a desk"),
            ("", "quiet corner with a lamp"),
            ("!!!", "quiet corner with a lamp!!!"),
        ] {
            assert_eq!(check("x@example.com", "Xi", site, password), None, "{site}: {password}");
        }
    }

    #[test]
    fn accents_invisible_characters_and_signs_do_not_hide_a_word() {
        for (name, site, password, part) in [
            ("Xi", "Bücherei Acme", "bucherei2026!", Part::Site),
            ("Xi", "Bücherei Acme", "buecherei2026!", Part::Site),
            ("Xi", "Bu\u{308}cherei Acme", "in der bücherei 7", Part::Site),
            ("Xi", "Bücherei Acme", "ácme2026!!", Part::Site),
            ("Xi", "Bücherei Acme", "acmé-2026-lamp", Part::Site),
            ("Xi", "Bücherei Acme", "acm\u{200b}e2026!", Part::Site),
            ("Xi", "Ac\u{ad}me", "acme2026!", Part::Site),
            ("Xi", "Welcome Inn", "we1c0me to 2026", Part::Site),
            ("Xi", "Łódź", "lodz2026!!", Part::Site),
            ("Xi", "Straßenbahn", "strassenbahn 7", Part::Site),
            ("Zoë Müller", "Acme", "muller-2026-x", Part::Name),
            ("Zoë Müller", "Acme", "mueller-2026-x", Part::Name),
            ("Zoe Mueller", "Acme", "müller-2026-x", Part::Name),
            ("Zoë Müller", "Acme", "zoe2026!!", Part::Name),
            ("Zoe\u{308}", "Acme", "zoë2026!!", Part::Name),
            ("José", "Acme", "jose2026!!", Part::Name),
            ("Jose", "Acme", "josé2026!!", Part::Name),
            ("Garçon", "Acme", "garcon77!!x", Part::Name),
            ("Jörg", "Acme", "j0rg2026!!", Part::Name),
        ] {
            let found = check("x@example.com", name, site, password);
            assert_eq!(found, Some(part), "{name}, {site}: {password}");
        }
        for (name, password) in [
            ("Zoe", "lamp 203 corner"),
            ("김", "김철수의 우산과 등불"),
            ("Bob", "seat 808 by the lamp"),
        ] {
            assert_eq!(check("x@example.com", name, "Acme", password), None, "{name}: {password}");
        }
    }

    #[test]
    fn short_names_count_only_as_whole_words_or_as_most_of_the_password() {
        for (email, name, password, problem) in [
            ("x@example.com", "Will Smith", "where there is a will", Part::Name),
            ("x@example.com", "Will", "will12345678", Part::Name),
            ("x@example.com", "Will", "willwill99", Part::Name),
            ("x@example.com", "Bo", "bo2026!!", Part::Name),
            ("x@example.com", "王芳", "王芳12345678", Part::Name),
            ("x@example.com", "Lovelace", "loveLACEs of 1815", Part::Name),
            ("x@example.com", "Ada", "ada-1815-lamp", Part::Name),
            ("tom@example.com", "X", "tom and the lamp", Part::Email),
            ("ada.byron@example.com", "X", "lord byron 1815", Part::Email),
            ("tom@example.com", "X", "mail tom@example.com!", Part::Email),
        ] {
            assert_eq!(check(email, name, "Acme", password), Some(problem), "{name}: {password}");
        }
        for (email, name, password) in [
            ("x@example.com", "Will", "goodwill of thirty old letters"),
            ("x@example.com", "Al Bo", "bo and al ate all seven apples"),
            ("tom@example.com", "X", "atoms at the bottom"),
            ("x@example.com", "Ada", "a canadian umbrella"),
            ("a@example.com", "A", "a lamp in a corner"),
        ] {
            assert_eq!(check(email, name, "Acme", password), None, "{name}: {password}");
        }
    }
}
