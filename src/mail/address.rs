//! Email addresses: as typed, for mail and display, and canonical, for comparison, so that spellings that
//! differ in case, surrounding spaces or Unicode variants belong to the same account. Mail goes only to the
//! stored form (Django, CVE-2019-19844), and its domain is the one that was compared, so that mail cannot go to
//! another domain than that of the account. Dots and plus tags are kept, because their meaning depends on the
//! provider.

use unicode_normalization::UnicodeNormalization as _;

use crate::language::Text;
use crate::unicode;

/// The maximum in bytes (RFC 5321, 4.5.3.1.3, without the angle brackets).
const MAX_BYTES: usize = 254;
/// The maximum of the local part in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

/// A syntactically valid email address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAddress {
    as_typed: String,
    canonical: String,
}

/// The text is not an email address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", Text::key("email-invalid"))]
pub struct NotAnAddress;

impl EmailAddress {
    /// Parses an email that is new to the site. White space and format characters around it are removed, because
    /// they come along when an email is copied.
    pub fn parse(typed: &str) -> Result<Self, NotAnAddress> {
        let email = Self::parse_existing(typed)?;
        // A relay may read `a%b.example@c.example` as `a@b.example` (the percent hack). Two emails that differ in
        // invisible characters look the same.
        let is_refused = |character| character == '%' || unicode::is_invisible(character);
        if email.as_typed.chars().chain(email.canonical.chars()).any(is_refused) {
            return Err(NotAnAddress);
        }
        Ok(email)
    }

    /// Parses an email that an account may have already: for look-ups. Earlier versions accepted `%` and some
    /// invisible letters before the @, so accounts with such an email exist.
    pub fn parse_existing(typed: &str) -> Result<Self, NotAnAddress> {
        let typed: String = unicode::trim(typed).nfc().collect();
        let (local, domain) = typed.rsplit_once('@').ok_or(NotAnAddress)?;
        if typed.len() > MAX_BYTES || local.is_empty() || local.len() > MAX_LOCAL_BYTES {
            return Err(NotAnAddress);
        }
        // IDNA ignores invisible characters, and `url` decodes percent signs.
        if domain.chars().any(unicode::is_invisible) || domain.contains('%') {
            return Err(NotAnAddress);
        }
        if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err(NotAnAddress);
        }
        if !local.chars().all(is_local) {
            return Err(NotAnAddress);
        }
        // A domain, not an IP address literal. `url` applies IDNA as browsers do.
        let domain = match url::Host::parse(domain) {
            Ok(url::Host::Domain(domain)) => domain,
            _ => return Err(NotAnAddress),
        };
        let labels = domain.split('.').collect::<Vec<_>>();
        let is_label = |label: &&str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if labels.len() < 2 || !labels.iter().all(is_label) {
            return Err(NotAnAddress);
        }
        // Lower-casing can leave the normal form and normalizing can create upper case; applying both twice
        // is stable.
        let fold = |text: &str| text.nfkc().collect::<String>().to_lowercase();
        let folded = fold(&fold(local));
        let as_typed = format!("{local}@{domain}");
        let canonical = format!("{folded}@{domain}");
        if !folded.chars().all(is_local) || as_typed.len().max(canonical.len()) > MAX_BYTES {
            return Err(NotAnAddress);
        }
        Ok(Self { as_typed, canonical })
    }

    /// The email that an account has. Other clients of the database may have stored a text that is no email; it is
    /// compared in lower case.
    pub fn stored(email: &str) -> Self {
        Self::parse_existing(email).unwrap_or_else(|NotAnAddress| Self {
            as_typed: email.to_owned(),
            canonical: email.to_lowercase(),
        })
    }

    /// For mail and display. The part before the @ is as typed; the domain is canonical: in lower case, and
    /// internationalized domains in their ASCII form.
    pub fn as_typed(&self) -> &str {
        &self.as_typed
    }

    /// For comparison.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The canonical email without a plus tag: `ada@example.com` for `ada+desk@example.com`. Many providers deliver
    /// both to the same mailbox, others do not. So it must not identify an account.
    pub fn without_tag(&self) -> String {
        let email = &self.canonical;
        match (email.find('+'), email.rfind('@')) {
            (Some(plus), Some(at)) if (1..at).contains(&plus) => {
                format!("{}{}", &email[..plus], &email[at..])
            }
            _ => email.clone(),
        }
    }
}

/// The characters that the HTML living standard allows before the @, and letters of any script (RFC 6531).
fn is_local(character: char) -> bool {
    if character.is_ascii() {
        character.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(character)
    } else {
        character.is_alphanumeric() || unicode_normalization::char::is_combining_mark(character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(typed: &str) -> String {
        EmailAddress::parse(typed).unwrap().canonical().to_owned()
    }

    #[test]
    fn spellings_of_one_email_have_one_canonical_form() {
        for typed in [
            "ada@example.com",
            " Ada@Example.COM\t",
            "ADA@EXAMPLE.COM",
            "ａｄａ@ｅｘａｍｐｌｅ.com",
            "ada@example。com",
            "\u{feff}ada@example.com",
            "\u{200b}\u{a0}ada@example.com\u{2060}\u{ad}",
            "\u{e0041}ada@example.com\u{fe0f}",
        ] {
            assert_eq!(canonical(typed), "ada@example.com", "{typed}");
        }
        assert_eq!(
            canonical("jose\u{301}@bücher.example"),
            canonical("JOSÉ@xn--bcher-kva.example")
        );
        assert_ne!(canonical("a.da@example.com"), canonical("ada@example.com"));
        assert_ne!(canonical("ada+desk@example.com"), canonical("ada@example.com"));
    }

    #[test]
    fn the_stored_domain_is_the_one_that_is_compared() {
        for (typed, stored) in [
            ("Ada@Example.COM", "Ada@example.com"),
            ("ＡＤＡ@ｅｘａｍｐｌｅ.com", "ＡＤＡ@example.com"),
            ("José@Bücher.example", "José@xn--bcher-kva.example"),
            ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
        ] {
            let email = EmailAddress::parse(typed).unwrap();
            assert_eq!(email.as_typed(), stored);
            let domain = |text: &str| text.rsplit_once('@').unwrap().1.to_owned();
            assert_eq!(domain(email.as_typed()), domain(email.canonical()));
            assert_eq!(EmailAddress::parse(stored), Ok(email), "parsing is stable");
        }
    }

    #[test]
    fn a_plus_tag_is_everything_from_the_first_plus_sign_to_the_at_sign() {
        for (typed, mailbox) in [
            ("Ada+desk@example.com", "ada@example.com"),
            ("ada+a+b@example.com", "ada@example.com"),
            ("ada+@example.com", "ada@example.com"),
            ("ada@example.com", "ada@example.com"),
            ("+ada@example.com", "+ada@example.com"),
        ] {
            assert_eq!(EmailAddress::parse(typed).unwrap().without_tag(), mailbox);
        }
        assert_eq!(EmailAddress::stored("no+email").without_tag(), "no+email");
    }

    #[test]
    fn an_email_that_earlier_versions_accepted_is_found_but_not_accepted_for_a_new_account() {
        for (typed, canonical) in [
            ("100%@example.com", "100%@example.com"),
            (" Leg%1@Example.COM", "leg%1@example.com"),
            ("ada%example.org@example.com", "ada%example.org@example.com"),
            ("a\u{115f}da@example.com", "a\u{115f}da@example.com"),
            ("a\u{34f}da@example.com", "a\u{34f}da@example.com"),
        ] {
            assert_eq!(EmailAddress::parse(typed), Err(NotAnAddress), "{typed:?}");
            let existing = EmailAddress::parse_existing(typed).unwrap();
            assert_eq!(existing.canonical(), canonical);
            assert_eq!(EmailAddress::stored(existing.as_typed()), existing);
        }
        for typed in ["ada@ex%61mple.com", "ada@exam\u{ad}ple.com", "a\u{200d}da@example.com"] {
            assert_eq!(EmailAddress::parse_existing(typed), Err(NotAnAddress), "{typed:?}");
        }
        assert_eq!(EmailAddress::stored("Not An@Email").canonical(), "not an@email");
    }

    #[test]
    fn invalid_emails_are_rejected() {
        let long = format!("{}@example.com", "a".repeat(65));
        for typed in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "ada@127.0.0.1",
            "ada@[127.0.0.1]",
            "ada lovelace@example.com",
            "ada@exa mple.com",
            "ada@example.com\nBcc: eve@example.com",
            "ada\r\n@example.com",
            ".ada@example.com",
            "a..da@example.com",
            "ada@-example.com",
            "ada@example..com",
            "<ada@example.com>",
            "ada@example.com,eve@example.com",
            "\"ada\"@example.com",
            "ada\u{202e}@example.com",
            "ada@exam_ple.com",
            "ada@ex%61mple.com",
            "ada@%65xample.com",
            "100%@example.com",
            "ada%example.org@example.com",
            "ada％example.org@example.com",
            "ada@exam\u{ad}ple.com",
            "ada@exam\u{200b}ple.com",
            "ada@exam\u{180b}ple.com",
            "ada@example.com\u{feff}.org",
            "a\u{2060}da@example.com",
            "a\u{115f}da@example.com",
            "a\u{34f}da@example.com",
            "\0ada@example.com",
            "ada@example.com.",
            long.as_str(),
        ] {
            assert_eq!(EmailAddress::parse(typed), Err(NotAnAddress), "{typed:?}");
        }
    }
}
