//! What several programs need to show pages without sessions.

use std::collections::BTreeMap;
use std::path::Path;

use frontdesk::config::{Config, SecretKeys};
use frontdesk::crypto::seal::Sealer;
use frontdesk::folder;
use frontdesk::site::{Embedded, NavigationEntry, Site};
use frontdesk::web::form_token::{Client, FormToken};
use uuid::Uuid;

/// Seals the hidden fields of forms.
pub fn sealer() -> anyhow::Result<Sealer> {
    Ok(Sealer::new(
        SecretKeys::parse("tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM")?.as_slice(),
    ))
}

/// The hidden field of a signed-in user's form.
pub fn form_token() -> anyhow::Result<String> {
    let client = Client::Session { account: Uuid::nil(), session: Uuid::nil() };
    Ok(FormToken::new(client).seal(&sealer()?))
}

/// The settings and the files of `examples/notes`, whose folder is in SITE.
pub fn notes() -> anyhow::Result<(Config, Site)> {
    let folder = std::env::var("SITE")?;
    let read = |name: &str| {
        let found = folder::read(&Path::new(&folder).join(name));
        found.map_err(|problems| anyhow::anyhow!("{problems:?}"))
    };
    let embedded = Embedded::new(read("templates")?, read("static")?, read("migrations")?);
    let site = Site {
        embedded: embedded.with_locales(read("locales")?),
        navigation: vec![NavigationEntry { label: "Notes".to_owned(), path: "/notes".to_owned() }],
        ..Site::default()
    };
    let settings = [("FRONTDESK_SITE_NAME".to_owned(), "Notes".to_owned())];
    Ok((Config::from_map(&BTreeMap::from(settings))?, site))
}
