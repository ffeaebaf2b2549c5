//! What a password is, and which new ones are refused, each with its reason. No rules of composition; any
//! characters; nothing trimmed, nothing cut off (NIST SP 800-63B-4, 3.1.1.2; ASVS 5.0 V6.2).

use std::collections::HashSet;
use std::io::Read as _;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// In bytes, as sent: longer input would burn processor time before anybody is known (Django,
/// CVE-2013-1443).
pub const LONGEST: usize = 1024;
/// Shorter parts of a name are in too many good passwords by chance.
const SHORTEST_PART: usize = 4;
/// 16,298 of the most common passwords of at least 8 characters, lower case, one a line: the lists of
/// Django (BSD-3-Clause) and zxcvbn (MIT), joined.
const COMMON: &[u8] = include_bytes!("common_passwords.txt.gz");

static COMMON_TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = String::new();
    flate2::read::GzDecoder::new(COMMON)
        .read_to_string(&mut text)
        .expect("the embedded list is gzip of UTF-8");
    text
});
static COMMON_WORDS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| COMMON_TEXT.lines().collect());

/// A password as it is hashed: Unicode NFC, otherwise exactly as typed. Wiped when dropped.
#[derive(Clone)]
pub struct Password {
    normal: Zeroizing<String>,
    /// As typed, where that is something else: another system may have hashed it so.
    typed: Option<Zeroizing<String>>,
}

/// More than [`LONGEST`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("That password is too long. Use a shorter one.")]
pub struct TooLong;

impl Password {
    /// Takes what was typed.
    pub fn parse(typed: &str) -> Result<Self, TooLong> {
        if typed.len() > LONGEST {
            return Err(TooLong);
        }
        let normal = Zeroizing::new(typed.nfc().collect::<String>());
        let typed = (*normal != typed).then(|| Zeroizing::new(typed.to_owned()));
        Ok(Self { normal, typed })
    }

    /// Lets it out, for the hash.
    pub(in crate::user) fn reveal(&self) -> &str {
        &self.normal
    }

    /// Both ways in which a stored hash may have been made of it: one or two.
    pub(in crate::user) fn forms(&self) -> impl Iterator<Item = &str> {
        let typed = self.typed.as_ref().map(|typed| typed.as_str());
        typed.into_iter().chain([self.reveal()])
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Password")
    }
}

/// What a new password must not be made of.
#[derive(Debug, Clone, Copy)]
pub struct PasswordContext<'a> {
    /// As typed.
    pub email: &'a str,
    /// As typed.
    pub display_name: &'a str,
    /// The site's host.
    pub host: &'a str,
}

/// What a new password must be.
#[derive(Debug, Clone, Copy)]
pub struct PasswordPolicy {
    /// In characters (Unicode code points).
    pub min_length: usize,
}

/// Why a new password is refused; each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordProblem {
    /// Nothing typed.
    #[error("Choose a password.")]
    Empty,
    /// Too few characters.
    #[error("Use at least {0} characters. Several words together are easy to remember.")]
    TooShort(usize),
    /// Too many bytes.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// On the list.
    #[error("This is one of the most common passwords. Choose something only you would think of.")]
    Common,
    /// `aaaaaaaa`, `12345678`, `abcabcabc`.
    #[error("This is a simple pattern that's easy to guess. Choose something less predictable.")]
    Pattern,
    /// The address is in it.
    #[error("This contains your email address. Choose something that isn't about you.")]
    ContainsEmail,
    /// The name is in it.
    #[error("This contains your name. Choose something that isn't about you.")]
    ContainsName,
    /// The site is in it.
    #[error("This contains the name of this site. Choose something else.")]
    ContainsSite,
}

impl PasswordPolicy {
    /// Checks a new password.
    pub fn check(
        &self,
        typed: &str,
        context: &PasswordContext<'_>,
    ) -> Result<Password, PasswordProblem> {
        let password = Password::parse(typed)?;
        if typed.is_empty() {
            return Err(PasswordProblem::Empty);
        }
        if password.reveal().chars().count() < self.min_length {
            return Err(PasswordProblem::TooShort(self.min_length));
        }
        let lower = Zeroizing::new(password.reveal().to_lowercase());
        if is_common(&lower) {
            return Err(PasswordProblem::Common);
        }
        if is_pattern(&lower) {
            return Err(PasswordProblem::Pattern);
        }
        about(&lower, context)?;
        Ok(password)
    }
}

/// On the list as it stands, or after the changes that everybody tries.
fn is_common(lower: &str) -> bool {
    let plain: String = lower.chars().map(unleet).collect();
    let stem = |text: &str| {
        text.trim_matches(|letter: char| letter.is_ascii_digit() || letter.is_ascii_punctuation())
            .to_owned()
    };
    // A short stem such as "summer" with figures around it is a common password too; a long one with
    // words of one's own around it is not on the list.
    COMMON_WORDS.contains(lower)
        || COMMON_WORDS.contains(plain.as_str())
        || COMMON_WORDS.contains(stem(lower).as_str())
        || COMMON_WORDS.contains(stem(&plain).as_str())
}

fn unleet(letter: char) -> char {
    match letter {
        '@' | '4' => 'a',
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '$' | '5' => 's',
        '7' => 't',
        other => other,
    }
}

/// One short piece over and over, or one step over and over.
fn is_pattern(lower: &str) -> bool {
    const KEYBOARD: [&str; 4] = ["qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890"];
    let letters: Vec<char> = lower.chars().collect();
    let repeats =
        |length: usize| letters.iter().zip(letters.iter().skip(length)).all(|(a, b)| a == b);
    if (1..=4).any(|length| letters.len() >= 2 * length && repeats(length)) {
        return true;
    }
    let runs_by = |step: i64| {
        letters
            .windows(2)
            .all(|pair| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0])) == step)
    };
    let reversed: String = letters.iter().rev().collect();
    runs_by(1)
        || runs_by(-1)
        || KEYBOARD.iter().any(|row| row.contains(lower) || row.contains(&reversed))
}

/// Made of what everybody knows of this person or this site.
fn about(lower: &str, context: &PasswordContext<'_>) -> Result<(), PasswordProblem> {
    let holds = |part: &str| {
        let part: String = part.nfc().collect::<String>().to_lowercase();
        part.chars().count() >= SHORTEST_PART && lower.contains(&part)
    };
    let words = |text: &str| {
        text.split(|letter: char| !letter.is_alphanumeric()).map(str::to_owned).collect::<Vec<_>>()
    };
    let email = context.email.trim();
    let local = email.rsplit_once('@').map_or(email, |(local, _)| local);
    if holds(email) || holds(local) {
        return Err(PasswordProblem::ContainsEmail);
    }
    if holds(context.display_name.trim())
        || words(context.display_name).iter().any(|word| holds(word))
    {
        return Err(PasswordProblem::ContainsName);
    }
    // A passphrase with "localhost" or a top-level domain in it is no danger; the site's own name is.
    if holds("frontdesk") || (context.host.contains('.') && holds(context.host)) {
        return Err(PasswordProblem::ContainsSite);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str) -> Result<(), PasswordProblem> {
        let context = PasswordContext {
            email: "ada.lovelace@example.com",
            display_name: "Ada Lovelace",
            host: "desk.example.com",
        };
        PasswordPolicy { min_length: 8 }.check(typed, &context).map(|_| ())
    }

    #[test]
    fn good_passwords_pass() {
        for good in [
            "correct horse battery staple",
            "tr0ubador&3x",
            "               x",
            "ключ от номера",
            "🛎🛎🗝🛎🛏🧳🛎🚪",
            "my password is quite long",
            "9041 5527 3318",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check(&"long words ".repeat(93)), Ok(()));
    }

    #[test]
    fn a_refused_password_comes_with_its_reason() {
        use PasswordProblem::*;
        for (bad, reason) in [
            ("", Empty),
            ("seven77", TooShort(8)),
            ("🛎🛎🛎", TooShort(8)),
            ("password", Common),
            ("PassWord", Common),
            ("p@ssw0rd", Common),
            ("password2026!", Common),
            ("iloveyou", Common),
            ("aaaaaaaaaaaa", Pattern),
            ("xyzxyzxyzxyz", Pattern),
            ("ghijklmnop", Pattern),
            ("my ada.lovelace key", ContainsEmail),
            ("Lovelace, countess", ContainsName),
            ("frontdesk-2026-x", ContainsSite),
            ("at desk.example.com", ContainsSite),
        ] {
            assert_eq!(check(bad), Err(reason), "{bad}");
        }
        assert_eq!(check(&"a b".repeat(400)), Err(TooLong(super::TooLong)));
    }

    #[test]
    fn every_listed_password_is_refused_and_the_list_is_long() {
        assert!(COMMON_WORDS.len() >= 3000);
        for word in COMMON_WORDS.iter() {
            assert!(check(word).is_err(), "{word}");
        }
    }

    #[test]
    fn composed_and_decomposed_are_one_password_and_nothing_else_is_changed() {
        let composed = Password::parse("caf\u{e9} au lait").unwrap();
        let decomposed = Password::parse("cafe\u{301} au lait").unwrap();
        assert_eq!(composed.reveal(), decomposed.reveal());
        assert_eq!(Password::parse("  Spaces  ").unwrap().reveal(), "  Spaces  ");
        assert_eq!(format!("{composed:?}"), "Password");
    }
}
