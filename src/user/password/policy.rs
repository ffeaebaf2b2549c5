//! The password type and the policy for new passwords. Any characters are allowed and none are required;
//! nothing is trimmed or truncated (NIST SP 800-63B-4, 3.1.1.2; ASVS 5.0 V6.2).

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::breached::is_breached;
use super::context::{Part, PasswordContext};
use super::spelling::{fold, spellings};
use crate::language::Text;
use crate::unicode;

/// The maximum in bytes: hashing longer input would cost processor time before the client is authenticated
/// (Django, CVE-2013-1443).
pub const MAX_BYTES: usize = 1024;
/// A password in Unicode NFC, otherwise exactly as typed. The memory is overwritten on drop.
#[derive(Clone)]
pub struct Password {
    normal: Zeroizing<String>,
    /// As typed, if that differs: another system may have hashed this form.
    typed: Option<Zeroizing<String>>,
}

/// More than [`MAX_BYTES`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", Text::key("password-too-long"))]
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
    #[error("{}", Text::key("password-empty"))]
    Empty,
    /// It has too few characters.
    #[error("{}", too_short(.0))]
    TooShort(usize),
    /// It has too many bytes.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// It is on the list of breached passwords, or a variant of one that is.
    #[error("{}", Text::key("password-common"))]
    Common,
    /// `aaaaaaaa`, `12345678`, `abcabcabc`.
    #[error("{}", Text::key("password-pattern"))]
    Pattern,
    /// It contains the email.
    #[error("{}", Text::key("password-email"))]
    ContainsEmail,
    /// It contains the name.
    #[error("{}", Text::key("password-name"))]
    ContainsName,
    /// It contains the name of the site.
    #[error("{}", Text::key("password-site"))]
    ContainsSite,
}

fn too_short(min_length: &usize) -> Text {
    Text::key("password-too-short").with("min", *min_length)
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
        let lower = fold(password.reveal());
        if is_pattern(&lower) || is_pattern(unicode::trim(&lower)) {
            return Err(PasswordProblem::Pattern);
        }
        if spellings(&lower).iter().any(|spelling| is_breached(spelling)) {
            return Err(PasswordProblem::Common);
        }
        match context.find_in(&lower) {
            None => Ok(password),
            Some(Part::Email) => Err(PasswordProblem::ContainsEmail),
            Some(Part::Name) => Err(PasswordProblem::ContainsName),
            Some(Part::Site) => Err(PasswordProblem::ContainsSite),
        }
    }
}

/// Whether the password is a repeated short string, a sequence of characters, or a row of the keyboard.
fn is_pattern(lower: &str) -> bool {
    const KEYBOARD: [&str; 4] = ["qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890"];
    let characters: Vec<char> = lower.chars().collect();
    if characters.len() < 3 {
        return false;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str) -> Result<(), PasswordProblem> {
        let context = PasswordContext {
            email: "ada.lovelace@example.com",
            display_name: "Ada Lovelace",
            site_name: "Frontdesk",
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
            "8264 9173 tiger 5501 7382 4410",
            "o'neil-2026",
            "will.i.am 2026",
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
            ("Summer2024!", Common),
            ("passwordpassword", Common),
            ("Password1 ", Common),
            ("\u{feff}password1", Common),
            ("ｐａｓｓｗｏｒｄ１２３", Common),
            ("Ｓｕｍｍｅｒ2024!", Common),
            ("𝐩𝐚𝐬𝐬𝐰𝐨𝐫𝐝", Common),
            ("pàssword2024", Common),
            ("pass\u{200b}word2024", Common),
            ("$ummer2024", Common),
            ("we1come2024!", Common),
            ("Pa\u{301}sswo\u{308}rd", Common),
            ("①②③④⑤⑥⑦⑧", Pattern),
            (" ghijklmnop ", Pattern),
            ("aaaaaaaaaaaa", Pattern),
            ("xyzxyzxyzxyz", Pattern),
            ("ghijklmnop", Pattern),
            ("my ada.lovelace key", ContainsEmail),
            ("Lovelace, countess", ContainsName),
            ("Ｌｏｖｅｌａｃｅ, countess", ContainsName),
            ("frontdesk-2026-x", ContainsSite),
            ("frontdésk2026", ContainsSite),
            ("at desk.example.com", ContainsSite),
        ] {
            assert_eq!(check(bad), Err(reason), "{bad}");
        }
        assert_eq!(check(&"a b".repeat(400)), Err(TooLong(super::TooLong)));
    }

    #[test]
    fn only_unicode_composition_is_normalized() {
        let composed = Password::parse("caf\u{e9} au lait").unwrap();
        let decomposed = Password::parse("cafe\u{301} au lait").unwrap();
        assert_eq!(composed.reveal(), decomposed.reveal());
        assert_eq!(Password::parse("ｗｉｄｅ").unwrap().reveal(), "ｗｉｄｅ");
        assert_eq!(Password::parse("  Spaces  ").unwrap().reveal(), "  Spaces  ");
        assert_eq!(format!("{composed:?}"), "Password");
    }
}
