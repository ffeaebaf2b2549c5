//! Generates the given number of session secrets and their sealed cookies, so that a benchmark can insert
//! usable sessions without hashing a password for each. One line each: the digest for the row in hexadecimal,
//! a tab, the cookie. Reads the key from FRONTDESK_SECRET_KEYS; never run it with a production key.

use std::io::Write as _;

use actix_web::cookie::{Cookie, CookieJar, Key};
use anyhow::Context as _;
use frontdesk::crypto::secret::Secret;

fn main() -> anyhow::Result<()> {
    let count: u32 = std::env::args().nth(1).context("how many?")?.parse()?;
    let key = Key::derive_from(std::env::var("FRONTDESK_SECRET_KEYS")?.as_bytes());
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for _ in 0..count {
        let secret = Secret::generate();
        let mut jar = CookieJar::new();
        jar.private_mut(&key).add(Cookie::new("session", secret.reveal()));
        let cookie = jar.get("session").context("it was just added")?.encoded().to_string();
        writeln!(out, "{}\t{cookie}", hex::encode(secret.digest().as_bytes()))?;
    }
    Ok(())
}
