//! One statement on any connection of a pool, run again if PostgreSQL refused it before it had an effect.

use std::future::Future;
use std::pin::Pin;

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Execute, Executor, PgPool, Postgres, SqlStr};

use super::error::{is_connection_unusable, is_retryable};
use super::outage;

/// An executor like the pool, for a single statement. Every statement that is not part of a transaction uses
/// it, which `tests/arrows.rs` checks.
///
/// PostgreSQL refuses a prepared statement after a change of a column's type ("cached plan must not change
/// result type"), on each connection that has prepared it. The statement is then run again, unprepared. It is
/// also run again if it lost a conflict with a concurrent one (SQLSTATE 40001, 40P01). The rows are collected
/// before the first one is returned, so that the caller never receives rows of two runs.
pub fn on(pool: &PgPool) -> OnPool<'_> {
    OnPool(pool)
}

/// The executor that [`on`] returns.
#[derive(Clone, Copy, Debug)]
pub struct OnPool<'p>(&'p PgPool);

type Answer<'e, T> = Pin<Box<dyn Future<Output = sqlx::Result<T>> + Send + 'e>>;

/// A statement that can be run more than once.
struct Statement {
    sql: SqlStr,
    arguments: Option<PgArguments>,
    is_prepared: bool,
}

impl Statement {
    fn new<'q>(mut query: impl Execute<'q, Postgres>) -> sqlx::Result<Self> {
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let is_prepared = query.persistent();
        Ok(Self { sql: query.sql(), arguments, is_prepared })
    }

    fn unprepared(&self) -> Self {
        Self { sql: self.sql.clone(), arguments: self.arguments.clone(), is_prepared: false }
    }
}

impl Execute<'_, Postgres> for Statement {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&PgStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.is_prepared
    }
}

/// Runs the statement once, or twice if PostgreSQL refused it before it had an effect.
async fn run<'q, T>(
    pool: &PgPool,
    query: impl Execute<'q, Postgres>,
    once: impl for<'c> Fn(&'c mut PoolConnection<Postgres>, Statement) -> Answer<'c, T>,
) -> sqlx::Result<T> {
    let first = Statement::new(query)?;
    let second = first.unprepared();
    let mut connection = pool.acquire().await?;
    let mut result = once(&mut connection, first).await;
    if result.as_ref().is_err_and(is_retryable) {
        // Later statements of this connection are prepared again.
        sqlx::Connection::clear_cached_statements(&mut *connection).await?;
        result = once(&mut connection, second).await;
    }
    if result.is_ok() {
        outage::succeeded();
    }
    if result.as_ref().is_err_and(is_connection_unusable) {
        connection.close_on_drop();
    }
    result
}

impl<'p> Executor<'p> for OnPool<'p> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let rows = run(self.0, query, |connection, statement| {
            Box::pin((&mut **connection).fetch_many(statement).try_collect::<Vec<_>>())
        });
        stream::once(rows)
            .map_ok(|rows| stream::iter(rows.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> Answer<'e, Option<PgRow>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(run(self.0, query, |connection, statement| {
            (&mut **connection).fetch_optional(statement)
        }))
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> Answer<'e, PgStatement>
    where
        'p: 'e,
    {
        self.0.prepare_with(sql, parameters)
    }

    #[doc(hidden)]
    fn describe<'e>(self, sql: SqlStr) -> Answer<'e, sqlx::Describe<Postgres>>
    where
        'p: 'e,
    {
        self.0.describe(sql)
    }
}
