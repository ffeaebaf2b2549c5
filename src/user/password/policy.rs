//! The password type and the policy for new passwords. Any characters are allowed and none are required;
//! nothing is trimmed or truncated (NIST SP 800-63B-4, 3.1.1.2; ASVS 5.0 V6.2).

use std::collections::HashSet;
use std::io::Read as _;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// The maximum in bytes: hashing longer input would cost processor time before the client is authenticated
/// (Django, CVE-2013-1443).
pub const MAX_BYTES: usize = 1024;
/// The minimum length of a word of the name or email that is rejected. Shorter words occur in many good
/// passwords by chance.
const MIN_WORD_CHARS: usize = 4;
/// 16,298 of the most common passwords of at least 8 characters, in lower case, one per line: the merged
/// lists of Django (BSD-3-Clause) and zxcvbn (MIT).
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

/// A password in Unicode NFC, otherwise exactly as typed. The memory is overwritten on drop.
#[derive(Clone)]
pub struct Password {
    normal: Zeroizing<String>,
    /// As typed, if that differs: another system may have hashed this form.
    typed: Option<Zeroizing<String>>,
}

/// More than [`MAX_BYTES`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("That password is too long. Use a shorter one.")]
pub struct TooLong;

impl Password {
    /// Normalizes what was typed.
    pub fn parse(typed: &str) -> Result<Self, TooLong> {
        if typed.len() > MAX_BYTES {
            return Err(TooLong);
        }
        let normal = Zeroizing::new(typed.nfc().collect::<String>());
        let typed = (*normal != typed).then(|| Zeroizing::new(typed.to_owned()));
        Ok(Self { normal, typed })
    }

    /// The text, for the hash.
    pub(in crate::user) fn reveal(&self) -> &str {
        &self.normal
    }

    /// The one or two forms from which a stored hash may have been computed.
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

/// What a new password must not contain.
#[derive(Debug, Clone, Copy)]
pub struct PasswordContext<'a> {
    /// As typed.
    pub email: &'a str,
    /// As typed.
    pub display_name: &'a str,
    /// The host name of the site.
    pub host: &'a str,
}

/// The rules for new passwords.
#[derive(Debug, Clone, Copy)]
pub struct PasswordPolicy {
    /// The minimum length, in characters (Unicode code points).
    pub min_length: usize,
}

/// Why a new password is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordProblem {
    /// It is empty.
    #[error("Choose a password.")]
    Empty,
    /// It has too few characters.
    #[error("Use at least {0} characters. Several words together are easy to remember.")]
    TooShort(usize),
    /// It has too many bytes.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// It is on the list of common passwords.
    #[error("This is one of the most common passwords. Choose something only you would think of.")]
    Common,
    /// `aaaaaaaa`, `12345678`, `abcabcabc`.
    #[error("This is a simple pattern that's easy to guess. Choose something less predictable.")]
    Pattern,
    /// It contains the email.
    #[error("This contains your email address. Choose something that isn't about you.")]
    ContainsEmail,
    /// It contains the name.
    #[error("This contains your name. Choose something that isn't about you.")]
    ContainsName,
    /// It contains the name of the site.
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
        check_context(&lower, context)?;
        Ok(password)
    }
}

/// Whether the password is on the list, as it is or after the usual substitutions and additions are undone.
fn is_common(lower: &str) -> bool {
    let plain: String = lower.chars().map(undo_leetspeak).collect();
    let stem = |text: &str| {
        text.trim_matches(|character: char| {
            character.is_ascii_digit() || character.is_ascii_punctuation()
        })
        .to_owned()
    };
    // A common word with digits or punctuation around it is a common password too.
    COMMON_WORDS.contains(lower)
        || COMMON_WORDS.contains(plain.as_str())
        || COMMON_WORDS.contains(stem(lower).as_str())
        || COMMON_WORDS.contains(stem(&plain).as_str())
}

fn undo_leetspeak(character: char) -> char {
    match character {
        '@' | '4' => 'a',
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '$' | '5' => 's',
        '7' => 't',
        other => other,
    }
}

/// Whether the password is a repeated short string, a sequence of characters, or a row of the keyboard.
fn is_pattern(lower: &str) -> bool {
    const KEYBOARD: [&str; 4] = ["qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890"];
    let characters: Vec<char> = lower.chars().collect();
    let repeats =
        |length: usize| characters.iter().zip(characters.iter().skip(length)).all(|(a, b)| a == b);
    if (1..=4).any(|length| characters.len() >= 2 * length && repeats(length)) {
        return true;
    }
    let runs_by = |step: i64| {
        characters
            .windows(2)
            .all(|pair| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0])) == step)
    };
    let reversed: String = characters.iter().rev().collect();
    runs_by(1)
        || runs_by(-1)
        || KEYBOARD.iter().any(|row| row.contains(lower) || row.contains(&reversed))
}

/// Rejects a password that contains the email, the name, or the site.
fn check_context(lower: &str, context: &PasswordContext<'_>) -> Result<(), PasswordProblem> {
    let contains_part = |part: &str| {
        let part: String = part.nfc().collect::<String>().to_lowercase();
        part.chars().count() >= MIN_WORD_CHARS && lower.contains(&part)
    };
    let words = |text: &str| {
        text.split(|character: char| !character.is_alphanumeric())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let email = context.email.trim();
    let local = email.rsplit_once('@').map_or(email, |(local, _)| local);
    if contains_part(email) || contains_part(local) {
        return Err(PasswordProblem::ContainsEmail);
    }
    if contains_part(context.display_name.trim())
        || words(context.display_name).iter().any(|word| contains_part(word))
    {
        return Err(PasswordProblem::ContainsName);
    }
    // A host without a dot, such as "localhost", can occur in a good passphrase.
    if contains_part("frontdesk") || (context.host.contains('.') && contains_part(context.host)) {
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
    fn good_passwords_are_accepted() {
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
    fn a_rejected_password_has_a_reason() {
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
    fn every_listed_password_is_rejected_and_the_list_is_long() {
        assert!(COMMON_WORDS.len() >= 3000);
        for word in COMMON_WORDS.iter() {
            assert!(check(word).is_err(), "{word}");
        }
    }

    #[test]
    fn only_unicode_composition_is_normalized() {
        let composed = Password::parse("caf\u{e9} au lait").unwrap();
        let decomposed = Password::parse("cafe\u{301} au lait").unwrap();
        assert_eq!(composed.reveal(), decomposed.reveal());
        assert_eq!(Password::parse("  Spaces  ").unwrap().reveal(), "  Spaces  ");
        assert_eq!(format!("{composed:?}"), "Password");
    }
}
