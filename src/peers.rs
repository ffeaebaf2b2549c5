//! The servers that run on one schema, and what must be the same on all of them. Owns the table `servers`:
//! every server writes its row at start and every ten seconds, with its session cache on or off, and deletes
//! it when it stops.
//!
//! Cookies, links in waiting mail and forms are sealed with the first key of a server and opened with any of
//! its keys. So while several servers run, the first key of each must be on all others. The key rotation in
//! `docs/RUNBOOK.md` keeps this in each of its phases; [`differences`] names the phase that is missing.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db;

/// How often a server writes its row.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// A server whose row is older does not count as running: in seconds, three intervals.
pub const STOPPED_AFTER: f64 = 30.0;

/// What a server publishes about itself.
#[derive(Clone, Debug)]
pub struct ThisServer {
    /// The same as in `session_caches`.
    pub id: Uuid,
    /// `FRONTDESK_PUBLIC_URL`.
    pub public_url: String,
    /// [`Sealer::key_ids`](crate::crypto::seal::Sealer::key_ids).
    pub key_ids: Vec<String>,
    /// [`MailTransport::name`](crate::config::MailTransport::name).
    pub mail: &'static str,
}

impl ThisServer {
    /// Writes the row of this server, and deletes the rows of servers that were killed more than a day ago.
    /// `session_cache` is the state of its session cache.
    pub async fn record(&self, pool: &PgPool, session_cache: &str) -> sqlx::Result<()> {
        sqlx::query!(
            r#"
            WITH purged AS (
                 DELETE FROM servers
                  WHERE last_seen_at < now() - interval '1 day'
                    AND id <> $1)
            INSERT INTO servers (id, version, host, process_id, public_url, key_ids, session_cache, mail)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT (id) DO UPDATE
               SET session_cache = EXCLUDED.session_cache, last_seen_at = now()
            "#,
            self.id,
            env!("CARGO_PKG_VERSION"),
            rustix::system::uname().nodename().to_string_lossy().into_owned(),
            std::process::id() as i32,
            self.public_url,
            &self.key_ids,
            session_cache,
            self.mail,
        )
        .execute(db::on(pool))
        .await?;
        Ok(())
    }

    /// Deletes the row of this server, which has stopped.
    pub async fn remove(&self, pool: &PgPool) -> sqlx::Result<()> {
        sqlx::query!("DELETE FROM servers WHERE id = $1", self.id).execute(db::on(pool)).await?;
        Ok(())
    }
}

/// A server that runs on this schema.
#[derive(Debug)]
pub struct RunningServer {
    /// Its row in `servers` and in `session_caches`.
    pub id: Uuid,
    /// The version of Frontdesk.
    pub version: String,
    /// The host name of its machine.
    pub host: String,
    /// Its process on that machine.
    pub process_id: i32,
    /// `FRONTDESK_PUBLIC_URL`.
    pub public_url: String,
    /// The identifiers of its keys; the first one seals.
    pub key_ids: Vec<String>,
    /// [`CacheState::as_str`](crate::session::cache::invalidation::CacheState::as_str).
    pub session_cache: String,
    /// What it does with mail: `smtp`, `folder` or `kept`. `None`: a version that does not write it.
    pub mail: Option<String>,
    /// When it was started.
    pub started_at: OffsetDateTime,
    /// When it last wrote its row.
    pub last_seen_at: OffsetDateTime,
}

impl RunningServer {
    /// For operators, with host and process.
    pub fn settings(&self) -> ServerSettings {
        let name = format!("{} (process {})", self.host, self.process_id);
        self.named(name)
    }

    /// For responses that may be public: its id only.
    pub fn anonymous_settings(&self) -> ServerSettings {
        self.named(self.id.to_string())
    }

    fn named(&self, name: String) -> ServerSettings {
        ServerSettings {
            name,
            public_url: self.public_url.clone(),
            key_ids: self.key_ids.clone(),
            mail: self.mail.clone(),
        }
    }
}

/// Lists the running servers, in the order in which they were started. Servers of versions that do not write
/// `servers` are missing.
pub async fn list(pool: &PgPool) -> sqlx::Result<Vec<RunningServer>> {
    sqlx::query_as!(
        RunningServer,
        r#"
        SELECT id, version, host, process_id, public_url, key_ids, session_cache, mail, started_at,
               last_seen_at
          FROM servers
         WHERE last_seen_at > now() - make_interval(secs => $1)
         ORDER BY started_at, id
        "#,
        STOPPED_AFTER,
    )
    .fetch_all(db::on(pool))
    .await
}

/// Whether a server runs whose `servers.mail` is one of `transports`.
pub async fn any_has_mail_transport(pool: &PgPool, transports: &[String]) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
               SELECT
                 FROM servers
                WHERE mail = ANY($1)
                  AND last_seen_at > now() - make_interval(secs => $2)) AS "exists!"
        "#,
        transports,
        STOPPED_AFTER,
    )
    .fetch_one(db::on(pool))
    .await
}

/// One side of a comparison: a running server, or the settings of a command.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The name in messages.
    pub name: String,
    /// `FRONTDESK_PUBLIC_URL`.
    pub public_url: String,
    /// The identifiers of its keys; the first one seals.
    pub key_ids: Vec<String>,
    /// [`RunningServer::mail`].
    pub mail: Option<String>,
}

impl ServerSettings {
    fn sealing_key(&self) -> &str {
        self.key_ids.first().map_or("", String::as_str)
    }

    fn has(&self, key: &str) -> bool {
        self.key_ids.iter().any(|id| id == key)
    }
}

/// A setting that is not the same on all servers.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Users notice it now. Otherwise it is normal during a phase of the key rotation.
    pub affects_users: bool,
    /// What differs between which servers, and what to do.
    pub message: String,
}

/// Compares the settings that all servers must share.
pub fn differences(settings: &[ServerSettings]) -> Vec<Difference> {
    let mut found = differences_of_keys(settings);
    found.extend(differences_of_public_urls(settings));
    found.extend(differences_of_mail(settings));
    found
}

fn differences_of_keys(settings: &[ServerSettings]) -> Vec<Difference> {
    let sealing: BTreeSet<&str> = settings.iter().map(ServerSettings::sealing_key).collect();
    let all: BTreeSet<&str> =
        settings.iter().flat_map(|one| &one.key_ids).map(String::as_str).collect();
    let mut found = Vec::new();
    for key in all {
        let without = names(settings, |one| !one.has(key));
        if without.is_empty() {
            continue;
        }
        let affects_users = sealing.contains(key);
        let message = if affects_users {
            let with = names(settings, |one| one.sealing_key() == key);
            format!(
                "Phase 1 of the key rotation is missing on {without}: the key {key}, the first key of {with}, is not set there. Sessions, mail and forms of one are unreadable for the other. Add that key at the end of FRONTDESK_SECRET_KEYS on {without} and restart it."
            )
        } else {
            let with = names(settings, |one| one.has(key));
            format!(
                "The key {key} is on {with}, but not on {without}. To rotate to it, complete phase 1: add it at the end of FRONTDESK_SECRET_KEYS on {without} and restart it. To drop it, complete phase 3 on {with}."
            )
        };
        found.push(Difference { affects_users, message });
    }
    if found.is_empty() && sealing.len() > 1 {
        let keys: Vec<String> = sealing
            .iter()
            .map(|key| format!("{} with {key}", names(settings, |one| one.sealing_key() == *key)))
            .collect();
        let message = format!(
            "Servers encrypt with different keys: {}. Phase 2 of the key rotation is not complete: move the new key to the front of FRONTDESK_SECRET_KEYS on every server and restart it.",
            keys.join(", ")
        );
        found.push(Difference { affects_users: false, message });
    }
    found
}

fn differences_of_public_urls(settings: &[ServerSettings]) -> Option<Difference> {
    let urls: BTreeSet<&str> = settings.iter().map(|one| one.public_url.as_str()).collect();
    if urls.len() < 2 {
        return None;
    }
    let sites: Vec<String> = urls
        .iter()
        .map(|url| format!("{url} on {}", names(settings, |one| one.public_url == *url)))
        .collect();
    let message = format!(
        "Servers with different public URLs use the same schema: {}. They share accounts and sessions, and send each other's mail with their own URL and name. Set the same FRONTDESK_PUBLIC_URL, or give each site its own database or schema.",
        sites.join(", ")
    );
    Some(Difference { affects_users: true, message })
}

fn differences_of_mail(settings: &[ServerSettings]) -> Option<Difference> {
    let does = |one: &ServerSettings, what: &str| one.mail.as_deref() == Some(what);
    let best =
        ["smtp", "folder"].into_iter().find(|what| settings.iter().any(|one| does(one, what)))?;
    let with = names(settings, |one| does(one, best));
    let without = names(settings, |one| one.mail.is_some() && !does(one, best));
    if without.is_empty() {
        return None;
    }
    let (setting, all) = if best == "smtp" {
        ("FRONTDESK_SMTP_URL", "FRONTDESK_SMTP_URL and FRONTDESK_MAIL_FROM")
    } else {
        ("FRONTDESK_MAIL_DIR", "FRONTDESK_MAIL_DIR")
    };
    let message = format!(
        "{setting} is set for {with}, but not for {without}. Mail is left to the servers that have it. Set the same {all} on every server."
    );
    Some(Difference { affects_users: false, message })
}

fn names(settings: &[ServerSettings], is_meant: impl Fn(&ServerSettings) -> bool) -> String {
    let names: Vec<&str> =
        settings.iter().filter(|one| is_meant(one)).map(|one| one.name.as_str()).collect();
    names.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keys: [&[&str]; 2]) -> Vec<Difference> {
        let settings = ["a", "b"].into_iter().zip(keys).map(|(name, keys)| ServerSettings {
            name: name.to_owned(),
            public_url: "https://desk.example.com".to_owned(),
            key_ids: keys.iter().map(ToString::to_string).collect(),
            mail: None,
        });
        differences(&settings.collect::<Vec<_>>())
    }

    #[test]
    fn no_step_of_a_key_rotation_affects_users_and_each_incomplete_step_is_named() {
        for (keys, word) in [
            ([&["old"][..], &["old", "new"]], "complete phase 1"),
            ([&["old", "new"], &["new", "old"]], "Phase 2"),
            ([&["new", "old"], &["new"]], "phase 3"),
        ] {
            let found = found(keys);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(!found[0].affects_users && found[0].message.contains(word), "{found:?}");
        }
        assert!(found([&["new", "old"], &["new", "old"]]).is_empty());
    }

    #[test]
    fn a_key_that_encrypts_on_one_server_and_is_unknown_to_another_affects_users() {
        for keys in [[&["old"][..], &["new", "old"]], [&["old", "new"], &["new"]]] {
            let found = found(keys);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].affects_users, "{found:?}");
        }
        let apart = found([&["old"], &["new"]]);
        assert!(apart.len() == 2 && apart.iter().all(|one| one.affects_users), "{apart:?}");
        assert!(apart[0].message.contains("missing on a: the key new"), "{apart:?}");
    }

    #[test]
    fn a_server_that_leaves_mail_to_another_is_named() {
        let found = |mail: [Option<&str>; 2]| {
            let settings = ["a", "b"].into_iter().zip(mail).map(|(name, mail)| ServerSettings {
                name: name.to_owned(),
                public_url: String::new(),
                key_ids: vec!["key".to_owned()],
                mail: mail.map(str::to_owned),
            });
            differences(&settings.collect::<Vec<_>>()).pop().map(|one| one.message)
        };
        for same in ["smtp", "folder", "kept"] {
            assert_eq!(found([Some(same), Some(same)]), None);
            assert_eq!(found([Some(same), None]), None, "an earlier version");
        }
        for (mail, words) in [
            (["smtp", "kept"], "FRONTDESK_SMTP_URL is set for a, but not for b."),
            (["folder", "smtp"], "FRONTDESK_SMTP_URL is set for b, but not for a."),
            (["kept", "folder"], "FRONTDESK_MAIL_DIR is set for b, but not for a."),
        ] {
            let message = found(mail.map(Some)).unwrap();
            assert!(message.starts_with(words), "{message}");
        }
    }
}
