//! The short code in a mail, for devices where the link cannot be opened. It has 40 bits, so it is valid for
//! ten minutes and five attempts, in one browser or session only, and the database stores a keyed digest.

use crate::crypto::seal::Sealer;

/// Attempts after which a code expires (ASVS 5.0 V6.6.3).
pub const MAX_CODE_ATTEMPTS: i32 = 5;
/// Crockford's base 32, without characters that look alike. 256 is a multiple of 32, so `byte % 32` is
/// unbiased.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 40 bits: with [`MAX_CODE_ATTEMPTS`] attempts, the chance of guessing one is 1 in 200 billion.
const CODE_LENGTH: usize = 8;

/// A code, in its canonical form.
#[derive(Clone)]
pub struct Code(String);

impl Code {
    /// Generates a random code.
    pub(in crate::user) fn generate() -> Self {
        let mut bytes = [0; CODE_LENGTH];
        getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
        Self(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
    }

    /// Parses user input: upper or lower case, with or without the dash; characters that look alike are
    /// converted.
    pub fn parse(typed: &str) -> Option<Self> {
        let mut code = String::new();
        for character in
            typed.chars().filter(|character| !character.is_whitespace() && !is_dash(*character))
        {
            let character = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                character => character,
            };
            if !character.is_ascii()
                || !ALPHABET.contains(&(character as u8))
                || code.len() == CODE_LENGTH
            {
                return None;
            }
            code.push(character);
        }
        (code.len() == CODE_LENGTH).then_some(Self(code))
    }

    /// `XXXX-XXXX`, for the mail.
    pub(in crate::user) fn reveal(&self) -> String {
        let (front, back) = self.0.split_at(CODE_LENGTH / 2);
        format!("{front}-{back}")
    }

    /// The digest for the database. `row` names the row that it is bound to.
    pub(in crate::user) fn digest(&self, sealer: &Sealer, row: &str) -> [u8; 32] {
        sealer.digest(&format!("code:{row}"), self.0.as_bytes())
    }

    /// Whether `digest` is that of this code in that row.
    pub(in crate::user) fn matches(
        &self,
        sealer: &Sealer,
        row: &str,
        digest: Option<&[u8]>,
    ) -> bool {
        let purpose = format!("code:{row}");
        digest.is_some_and(|digest| sealer.verify_digest(digest, &purpose, self.0.as_bytes()))
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Code")
    }
}

fn is_dash(character: char) -> bool {
    matches!(character, '-' | '_' | '.' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_in_every_spelling() {
        for typed in ["7K3M-Q01H", "7k3mqO1h", " 7k3m qol\u{2013}h ", "7K3M\u{2212}QOIH"] {
            assert_eq!(Code::parse(typed).unwrap().0, "7K3MQ01H", "{typed}");
        }
        for invalid in ["", "7K3M-Q01", "7K3M-Q01HH", "7K3M-Q01U", "7K3M-Q01É", "７K3M-Q01H"] {
            assert!(Code::parse(invalid).is_none(), "{invalid}");
        }
    }

    #[test]
    fn codes_use_the_whole_alphabet_and_do_not_repeat() {
        let codes: std::collections::HashSet<String> =
            (0..20_000).map(|_| Code::generate().reveal()).collect();
        assert_eq!(codes.len(), 20_000);
        let characters: std::collections::BTreeSet<char> =
            codes.iter().flat_map(|code| code.chars()).collect();
        assert_eq!(characters.len(), 33, "32 letters and the dash: {characters:?}");
    }
}
