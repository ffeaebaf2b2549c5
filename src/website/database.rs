//! The site's access to PostgreSQL.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use sqlx::{PgConnection, PgPool};

use super::error::Error;
use crate::db::{self, Work};
use crate::site::SiteDatabase;

/// The connections of the site, apart from those that sign-in uses. A statement finds the tables of the site first
/// (`FRONTDESK_SITE_SCHEMA`), and then those of Frontdesk. It is canceled after 2.5 seconds.
///
/// ```
/// use frontdesk::{Error, Pool};
///
/// async fn count(pool: Pool) -> Result<String, Error> {
///     let count: i64 = sqlx::query_scalar("SELECT count(*) FROM notes").fetch_one(&*pool).await?;
///     Ok(count.to_string())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Pool(PgPool);

impl Pool {
    pub(super) fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// Runs `work` in one transaction of at most ten seconds. It commits if `work` returns `Ok`, even if the browser
    /// closes the connection meanwhile. After a conflict with another transaction, `work` runs a second time.
    ///
    /// ```
    /// # use frontdesk::{Error, Pool};
    /// async fn move_all(pool: Pool, from: i64, to: i64) -> Result<u64, Error> {
    ///     let moved = pool.transaction(move |connection| {
    ///         Box::pin(async move {
    ///             let update = sqlx::query("UPDATE notes SET book_id = $2 WHERE book_id = $1");
    ///             let moved = update.bind(from).bind(to).execute(&mut *connection).await?;
    ///             Ok(moved.rows_affected())
    ///         })
    ///     });
    ///     moved.await
    /// }
    /// ```
    pub async fn transaction<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T, Error> + Clone + Send + 'static,
        T: Send + 'static,
    {
        db::transaction(&self.0, work).await
    }
}

impl Deref for Pool {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.0
    }
}

impl FromRequest for Pool {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(SiteDatabase::of(request).map(|found| Self(found.pool.clone())).map_err(Error::of))
    }
}
