//! Tests with hashes that other systems created, and with altered ones.

use super::*;
use crate::user::password::hasher::{HashParameters, Hasher, PasswordHash, Verdict};
use crate::user::password::policy::Password;

const FIXTURES: &str = include_str!("../../../../tests/it/fixtures/foreign_hashes.tsv");

fn fixtures() -> Vec<[&'static str; 4]> {
    let lines = FIXTURES.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| parts(line, '\t').unwrap()).collect()
}

fn adopt(name: &str, hash: &str) -> Result<PasswordHash, HashProblem> {
    let format = match name {
        "node-scrypt" => HashFormat::NodeScrypt,
        "better-auth" | "better-auth-nfkc" => HashFormat::BetterAuth,
        _ => HashFormat::Named,
    };
    PasswordHash::adopt(hash, format)
}

#[tokio::test]
async fn hashes_of_other_systems_match_only_their_password_and_are_rehashed() {
    let hasher = Hasher::with_limits(HashParameters::default(), 1, 4);
    assert!(fixtures().len() > 30);
    for [name, _, password, hash] in fixtures() {
        let hash = adopt(name, hash).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let right = Password::parse(password).unwrap();
        let result = hasher.verify(&right, Some(hash.as_str())).await.unwrap();
        let Verdict::Match { rehash: Some(new) } = result else { panic!("{name}: {result:?}") };
        assert!(new.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{name}");
        let result = hasher.verify(&right, Some(new.as_str())).await.unwrap();
        assert!(matches!(result, Verdict::Match { rehash: None }), "{name}: {result:?}");
        let prefix: String = password.chars().take(9).collect();
        for wrong in [prefix, format!(" {password}")] {
            let wrong = Password::parse(&wrong).unwrap();
            let result = hasher.verify(&wrong, Some(hash.as_str())).await.unwrap();
            assert!(matches!(result, Verdict::NoMatch), "{name}: {result:?}");
        }
    }
}

#[tokio::test]
async fn verifying_a_foreign_hash_costs_one_more_hash_whether_it_matches_or_not() {
    let hasher = Hasher::with_limits(HashParameters::default(), 1, 4);
    for [name, _, password, hash] in fixtures() {
        let hash = adopt(name, hash).unwrap();
        let mut spent = Vec::new();
        for typed in [password, "something else"] {
            let typed = Password::parse(typed).unwrap();
            let before = hasher.runs();
            hasher.verify(&typed, Some(hash.as_str())).await.unwrap();
            spent.push(hasher.runs() - before);
        }
        let is_foreign = !name.contains("argon2");
        assert!(!is_foreign || spent == [1, 1], "{name}: {spent:?}");
    }
}

#[test]
fn bcrypt_truncates_at_72_bytes() {
    let long = "x".repeat(72);
    assert_eq!(*bcrypt_key(&long, false), *bcrypt_key(&format!("{long}y"), false));
    assert_eq!(bcrypt_key("ada", false).as_slice(), b"ada\0");
    assert_eq!(bcrypt_key("", false).as_slice(), b"\0");
    assert_eq!(bcrypt_key(&long, true).len(), 65);
}

#[test]
fn an_altered_hash_is_rejected_or_does_not_match() {
    use HashProblem::{Malformed, TooCostly, Unknown};
    let out = "jBLLvzr1KiAgRkV4CR6gla+m403UjFXHC6S2uAxBfBc=";
    let bcrypt = "EJHCRpFwpIodPI.o15pw4.r3h3NKRh.gOga8Xy0l1CcqukufJXn6.";
    for (text, problem) in [
        (String::new(), Unknown),
        ("!".to_owned(), Unknown),
        ("5f4dcc3b5aa765d61d8327deb882cf99".to_owned(), Unknown),
        ("sha1$salt$5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8".to_owned(), Unknown),
        (format!("$2x$05${bcrypt}"), Unknown),
        (format!("pbkdf2_sha256$4000001$salt${out}"), TooCostly),
        (format!("pbkdf2_sha256$99999999999$salt${out}"), TooCostly),
        (format!("pbkdf2_sha1$2000001$salt${out}"), TooCostly),
        (format!("pbkdf2_sha256$0$salt${out}"), Malformed),
        (format!("pbkdf2_sha256$-1$salt${out}"), Malformed),
        (format!("pbkdf2_sha256$1000$${out}"), Malformed),
        ("pbkdf2_sha256$1000$salt$".to_owned(), Malformed),
        ("pbkdf2_sha256$1000$salt$AAAA".to_owned(), Malformed),
        (format!("pbkdf2_sha256$1000$salt${out}$"), Malformed),
        (format!("pbkdf2_sha256$1000$salt${}", "A".repeat(200)), Malformed),
        (format!("$2b$31${bcrypt}"), TooCostly),
        (format!("$2b$15${bcrypt}"), TooCostly),
        (format!("$2b$03${bcrypt}"), Malformed),
        (format!("$2b$5${bcrypt}"), Malformed),
        (format!("$2b$05${bcrypt}x"), Malformed),
        (format!("bcrypt$2b$05${bcrypt}"), Malformed),
        (format!("scrypt$1048576$salt$16$1${out}"), TooCostly),
        (format!("scrypt$16384$salt$8$17${out}"), TooCostly),
        (format!("scrypt$4294967295$salt$8$1${out}"), Malformed),
        (format!("scrypt$16384$salt$4294967295$4294967295${out}"), TooCostly),
        (format!("scrypt$16385$salt$8$1${out}"), Malformed),
        (format!("scrypt$1$salt$8$1${out}"), Malformed),
        (format!("$scrypt$ln=63,r=8,p=1$c2FsdA${out}"), TooCostly),
        (format!("$scrypt$ln=14,r=8$c2FsdA${out}"), Malformed),
        (format!("$scrypt$r=8,p=1$c2FsdA${out}"), Malformed),
        ("better_auth$salt:00".to_owned(), Malformed),
        ("scrypt:16384:8:1$salt$zz".to_owned(), Malformed),
        (format!("pbkdf2_sha256$1000$salt\0${out}"), Malformed),
        ("$".repeat(600), Malformed),
    ] {
        let result = PasswordHash::adopt(&text, HashFormat::Named).map(|_| ());
        assert_eq!(result, Err(problem), "{text}");
    }
}

#[test]
fn recommended_and_current_parameters_are_accepted() {
    let out = "jBLLvzr1KiAgRkV4CR6gla+m403UjFXHC6S2uAxBfBc";
    for text in [
        format!("pbkdf2_sha256$1500000$salt${out}="),
        format!("$scrypt$ln=17,r=8,p=1$c2FsdA${out}"),
        format!("$scrypt$ln=13,r=8,p=10$c2FsdA${out}"),
        format!("argon2$argon2id$v=19$m=102400,t=2,p=8$c29tZXNhbHRzb21lc2FsdA${out}"),
        "$2y$14$EJHCRpFwpIodPI.o15pw4.r3h3NKRh.gOga8Xy0l1CcqukufJXn6.".to_owned(),
    ] {
        assert!(PasswordHash::adopt(&text, HashFormat::Named).is_ok(), "{text}");
    }
}

#[test]
fn a_malformed_hash_does_not_panic() {
    for [name, _, _, hash] in fixtures() {
        for at in 0..hash.len() {
            for junk in ["", "$", "=", "9", "\u{e9}", ":"] {
                let (before, after) = (&hash[..at], &hash[at + 1..]);
                adopt(name, &format!("{before}{junk}{after}")).ok();
                adopt(name, &format!("{before}{junk}")).ok();
            }
        }
    }
}
