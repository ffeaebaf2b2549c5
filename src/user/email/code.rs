//! The short code of a mail, to be typed where a link cannot be followed. It has 40 bits, so it is good for ten minutes and
//! five tries, in one place only, and the database keeps a digest that nobody can make without the site's keys.

use crate::crypto::seal::Sealer;

/// Wrong codes that end a code (ASVS 5.0 V6.6.3).
pub const CODE_TRIES: i32 = 5;
/// A code is good for so long (ASVS 5.0 V6.5.5), in seconds.
pub const CODE_SECONDS: f64 = 600.0;
/// Crockford's: what looks alike is one letter. 32 letters, so each random byte gives one without bias.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 40 bits; with [`CODE_TRIES`] the chance of a guess is one in 200 billion.
const CODE_LENGTH: usize = 8;

/// The short code of a mail, to be typed instead of following the link.
#[derive(Clone)]
pub struct Code(String);

impl Code {
    /// A new one.
    pub(in crate::user) fn generate() -> Self {
        let mut bytes = [0; CODE_LENGTH];
        getrandom::fill(&mut bytes).expect("the operating system hands out random numbers");
        Self(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
    }

    /// Reads what somebody typed: any case, with or without the dash, and what looks alike taken for what was meant.
    pub fn parse(typed: &str) -> Option<Self> {
        let mut code = String::new();
        for letter in typed.chars().filter(|letter| !letter.is_whitespace() && !is_dash(*letter)) {
            let letter = match letter.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                letter => letter,
            };
            if !letter.is_ascii()
                || !ALPHABET.contains(&(letter as u8))
                || code.len() == CODE_LENGTH
            {
                return None;
            }
            code.push(letter);
        }
        (code.len() == CODE_LENGTH).then_some(Self(code))
    }

    /// `XXXX-XXXX`, for the mail.
    pub(in crate::user) fn reveal(&self) -> String {
        let (front, back) = self.0.split_at(CODE_LENGTH / 2);
        format!("{front}-{back}")
    }

    /// What the database keeps; `row` names the row that it is bound to.
    pub(in crate::user) fn digest(&self, sealer: &Sealer, row: &str) -> [u8; 32] {
        sealer.digest(&format!("code:{row}"), self.0.as_bytes())
    }

    /// Whether it is the one of that row.
    pub(in crate::user) fn is(&self, sealer: &Sealer, row: &str, digest: Option<&[u8]>) -> bool {
        let purpose = format!("code:{row}");
        digest.is_some_and(|digest| sealer.verify_digest(digest, &purpose, self.0.as_bytes()))
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Code")
    }
}

fn is_dash(letter: char) -> bool {
    matches!(letter, '-' | '_' | '.' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        for typed in ["7K3M-Q01H", "7k3mqO1h", " 7k3m qol\u{2013}h ", "7K3M\u{2212}QOIH"] {
            assert_eq!(Code::parse(typed).unwrap().0, "7K3MQ01H", "{typed}");
        }
        for odd in ["", "7K3M-Q01", "7K3M-Q01HH", "7K3M-Q01U", "7K3M-Q01É", "７K3M-Q01H"] {
            assert!(Code::parse(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn codes_use_the_whole_alphabet_and_do_not_repeat() {
        let codes: std::collections::HashSet<String> =
            (0..20_000).map(|_| Code::generate().reveal()).collect();
        assert_eq!(codes.len(), 20_000);
        let letters: std::collections::BTreeSet<char> =
            codes.iter().flat_map(|code| code.chars()).collect();
        assert_eq!(letters.len(), 33, "32 letters and the dash: {letters:?}");
    }
}
