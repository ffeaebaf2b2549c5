//! Words that an attacker who aims at one account tries first: those of the email, of the name and of the site
//! (NIST SP 800-63B-4, 3.1.1.2).

use unicode_normalization::UnicodeNormalization as _;

use super::breached::undo_leetspeak;

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
    /// What of the context a password contains, which is given in NFKC and in lower case.
    pub(super) fn find_in(&self, lower: &str) -> Option<Part> {
        let plain = undo_leetspeak(lower);
        let contains = |word: &str, shortest: usize| {
            let word = word.nfkc().collect::<String>().to_lowercase();
            [lower, &plain].iter().any(|password| contains_word(password, &word, shortest))
        };
        let contains_any = |text: &str, shortest: usize| {
            contains(text.trim(), shortest) || words(text).any(|word| contains(word, shortest))
        };
        let local = self.email.rsplit_once('@').map_or(self.email, |(local, _)| local);
        if contains(self.email.trim(), SHORTEST_NAME) || contains(local.trim(), SHORTEST_NAME) {
            return Some(Part::Email);
        }
        if contains_any(self.display_name, SHORTEST_NAME) {
            return Some(Part::Name);
        }
        if contains_any(local, SHORTEST_NAME) {
            return Some(Part::Email);
        }
        // An article or a preposition of a longer name occurs in many passphrases.
        let is_one_word = words(self.site_name).nth(1).is_none();
        let shortest = if is_one_word { SHORTEST_NAME } else { LONGEST_SHORT_WORD };
        // A host without a dot, such as "localhost", can occur in a good passphrase.
        let contains_host = self.host.contains('.') && contains(self.host, SHORTEST_NAME);
        if contains_host || contains_any(self.site_name, shortest) {
            return Some(Part::Site);
        }
        None
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether the password contains `word`. A word of up to four characters counts only if it makes up more than
/// half of the letters, or if it is a whole word and has at least `shortest` characters.
fn contains_word(password: &str, word: &str, shortest: usize) -> bool {
    let length = word.chars().count();
    if length < 2 || !word.contains(char::is_alphanumeric) {
        return false;
    }
    let found = password.match_indices(word).count();
    if found == 0 {
        return false;
    }
    if length > LONGEST_SHORT_WORD {
        return true;
    }
    let letters = password.chars().filter(|character| character.is_alphabetic()).count();
    let mut whole =
        password.match_indices(word).filter(|(at, _)| is_whole_word(password, *at, word));
    2 * found * length > letters || (length >= shortest && whole.next().is_some())
}

/// Whether the `word` at `at` is not a part of a longer word or number.
fn is_whole_word(text: &str, at: usize, word: &str) -> bool {
    let belong_together = |pair: (Option<char>, Option<char>)| match pair {
        (Some(a), Some(b)) => {
            a.is_alphabetic() && b.is_alphabetic() || a.is_numeric() && b.is_numeric()
        }
        _ => false,
    };
    let before = text[..at].chars().next_back();
    let after = text[at + word.len()..].chars().next();
    !belong_together((before, word.chars().next()))
        && !belong_together((word.chars().next_back(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(email: &str, display_name: &str, site_name: &str, typed: &str) -> Option<Part> {
        let context = PasswordContext { email, display_name, site_name, host: "desk.example.com" };
        context.find_in(&typed.to_lowercase())
    }

    #[test]
    fn the_words_of_the_sites_name_are_refused_and_no_other_name() {
        for (site, password) in [
            ("Acme", "acme2026!"),
            ("Acme", "my acme lamp"),
            ("Acme", "4cm3-lamp-77"),
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
