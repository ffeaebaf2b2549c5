//! The mail of a site, which its own code causes.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sqlx::{Connection as _, PgConnection};

use super::Message;
use super::outbox::{self, Enqueued};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::events::{Enqueuing, MailOutcome, SiteOutbox};
use crate::id::UserId;
use crate::templates::Layers;

/// Puts mail of a site into the outbox.
pub struct SiteMail {
    sealer: Sealer,
    /// The schema of Frontdesk's tables.
    schema: String,
    /// The mails that have templates.
    kinds: BTreeSet<String>,
}

impl SiteMail {
    /// With the mails of `layers`. `schema` is that of Frontdesk's tables.
    pub fn new(sealer: Sealer, schema: String, layers: &Layers) -> Self {
        Self { sealer, schema, kinds: layers.site_mails() }
    }

    async fn insert(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        kind: &str,
        data: Map<String, Value>,
    ) -> sqlx::Result<MailOutcome> {
        // The email cannot change until the commit: `enqueue` looks up whether this one is verified.
        let account = sqlx::query!(
            "SELECT email, display_name FROM users WHERE id = $1 FOR KEY SHARE",
            user as UserId,
        )
        .fetch_optional(&mut *connection)
        .await?;
        let Some(account) = account else { return Ok(MailOutcome::NoSuchUser) };
        let (mail, display_name) = (kind.to_owned(), account.display_name);
        let message = Message::OfSite { mail, display_name, data };
        let enqueued =
            outbox::enqueue(connection, &self.sealer, Some(user), &account.email, &message).await?;
        Ok(match enqueued {
            Enqueued::Queued | Enqueued::Combined => MailOutcome::Queued,
            Enqueued::OverLimit => MailOutcome::OverLimit,
            Enqueued::Unverified | Enqueued::Withheld => MailOutcome::Unverified,
        })
    }
}

impl SiteOutbox for SiteMail {
    /// In a transaction or savepoint of its own, in which the statements find Frontdesk's tables, and no table of the
    /// site with the same name.
    fn enqueue<'c>(
        &'c self,
        connection: &'c mut PgConnection,
        user: UserId,
        kind: &'c str,
        data: Value,
    ) -> Enqueuing<'c> {
        Box::pin(async move {
            if !self.kinds.contains(kind) {
                return Err(sqlx::Error::InvalidArgument(format!(
                    "the site has no mail {kind}: it needs templates/mail/{kind}/subject.txt, body.txt and body.html"
                )));
            }
            let data = match data {
                Value::Object(data) => data,
                Value::Null => Map::new(),
                _ => {
                    let problem = format!("the data of the mail {kind} is no object");
                    return Err(sqlx::Error::InvalidArgument(problem));
                }
            };
            let mut transaction = connection.begin().await?;
            let former = "SELECT current_setting('search_path')";
            let former: String = sqlx::query_scalar(former).fetch_one(&mut *transaction).await?;
            db::set_search_path(&mut transaction, &self.schema).await?;
            let outcome = self.insert(&mut transaction, user, kind, data).await?;
            db::set_search_path(&mut transaction, &former).await?;
            transaction.commit().await?;
            Ok(outcome)
        })
    }
}
