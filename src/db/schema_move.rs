//! `migrate move`: moves everything of Frontdesk into another schema, in one transaction. What the tables are referred
//! to by (foreign keys, views and triggers of others) follows, because PostgreSQL stores no names there.

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgExecutor, PgPool};

use super::own_objects::OwnObjects;
use super::{migration_lock, migrations};

/// The outcome of [`move_to`].
#[derive(Debug, PartialEq, Eq)]
pub enum Move {
    /// Everything was moved.
    Done {
        /// The schema where it was.
        from: String,
    },
    /// It was there already.
    AlreadyThere,
}

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveProblem {
    /// There is nothing to move.
    #[error("this database has no tables of Frontdesk")]
    NotFound,
    /// It is not clear what to move.
    #[error(
        "the tables of Frontdesk are in several schemas: {}. Set FRONTDESK_SCHEMA to the one that is to be moved, and run this again with the program frontdesk",
        .0.join(", ")
    )]
    Several(Vec<String>),
    /// A server would lose its tables.
    #[error(
        "servers are running: {0}. Stop every server first. A server that was killed counts as running for 30 seconds"
    )]
    ServersRun(String),
}

/// Moves the tables, views, sequences, functions and types of Frontdesk, and the record of its migrations, into the
/// schema `target`, which is created if necessary. Pending migrations stay pending.
pub async fn move_to(pool: &PgPool, target: &str) -> anyhow::Result<Result<Move, MoveProblem>> {
    let mut connection = migrations::without_timeout(pool).await?;
    migration_lock::acquire(&mut connection, |_| {}).await?;
    let moved = async {
        let from = match find(&mut connection, target).await? {
            Ok(Some(from)) => from,
            Ok(None) => return Ok(Ok(Move::AlreadyThere)),
            Err(problem) => return Ok(Err(problem)),
        };
        move_between(&mut connection, from, target).await
    }
    .await;
    connection.close().await.ok();
    moved
}

/// The schema of the tables, unless it is `target`. If there are several, the one of the connection.
async fn find(
    connection: &mut PgConnection,
    target: &str,
) -> anyhow::Result<Result<Option<String>, MoveProblem>> {
    let schemas = schemas_with_tables(&mut *connection).await?;
    let current: Option<String> =
        sqlx::query_scalar("SELECT current_schema()::text").fetch_one(connection).await?;
    if schemas.iter().any(|schema| schema == target) {
        return Ok(Ok(None));
    }
    Ok(match (current.filter(|current| schemas.contains(current)), &schemas[..]) {
        (Some(from), _) => Ok(Some(from)),
        (None, [from]) => Ok(Some(from.clone())),
        (None, []) => Err(MoveProblem::NotFound),
        (None, _) => Err(MoveProblem::Several(schemas)),
    })
}

/// The schemas that have tables of Frontdesk, of whatever version.
pub async fn schemas_with_tables(executor: impl PgExecutor<'_>) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT n.nspname::text
           FROM pg_namespace n
          WHERE (SELECT count(*) FROM pg_class c
                  WHERE c.relnamespace = n.oid AND c.relkind = 'r'
                    AND c.relname IN ('_sqlx_migrations', 'session_caches', 'sessions', 'users')) = 4
          ORDER BY 1",
    )
    .fetch_all(executor)
    .await
}

async fn move_between(
    connection: &mut PgConnection,
    from: String,
    target: &str,
) -> anyhow::Result<Result<Move, MoveProblem>> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("SET LOCAL lock_timeout = '3s'").execute(&mut *transaction).await?;
    // A server that starts now waits, and does not find its tables then.
    let lock = format!("LOCK TABLE {}.session_caches IN ACCESS EXCLUSIVE MODE", quoted(&from));
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *transaction).await?;
    if let Some(servers) = running_servers(&mut transaction, &from).await? {
        return Ok(Err(MoveProblem::ServersRun(servers)));
    }
    migrations::create_schema_on(&mut transaction, target).await?;
    for statement in statements(&mut transaction, &from, target).await? {
        sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut *transaction)
            .await
            .with_context(|| format!("nothing was moved, because this failed: {statement}"))?;
    }
    transaction.commit().await?;
    Ok(Ok(Move::Done { from }))
}

/// Describes the servers whose lease is live.
async fn running_servers(
    connection: &mut PgConnection,
    schema: &str,
) -> anyhow::Result<Option<String>> {
    let schema = quoted(schema);
    // Versions before this table have only a lease for the session cache.
    let has_servers: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("{schema}.servers"))
        .fetch_one(&mut *connection)
        .await?;
    let source = if has_servers {
        format!(
            "SELECT host || ' (process ' || process_id || ')' FROM {schema}.servers
              WHERE last_seen_at > now() - interval '30 seconds'
              UNION ALL
             SELECT 'one of an earlier version' FROM {schema}.session_caches c
              WHERE trusted_until > now()
                AND NOT EXISTS (SELECT FROM {schema}.servers s WHERE s.id = c.id)"
        )
    } else {
        format!(
            "SELECT 'one of an earlier version' FROM {schema}.session_caches WHERE trusted_until > now()"
        )
    };
    let list = format!("SELECT string_agg(server, ', ') FROM ({source}) AS running (server)");
    Ok(sqlx::query_scalar(AssertSqlSafe(list)).fetch_one(connection).await?)
}

/// The statements that move everything from one schema to the other, in an order that works.
async fn statements(
    connection: &mut PgConnection,
    from: &str,
    target: &str,
) -> anyhow::Result<Vec<String>> {
    let applied = format!("SELECT version FROM {}._sqlx_migrations", quoted(from));
    let applied: Vec<i64> =
        sqlx::query_scalar(AssertSqlSafe(applied)).fetch_all(&mut *connection).await?;
    let own = OwnObjects::of(&applied);
    let (relations, functions, types) = (own.relations(), own.functions(), own.types());
    let found = sqlx::query_scalar(
        "WITH relation AS (
              SELECT c.*
                FROM pg_class c
               WHERE c.relnamespace = quote_ident($1)::regnamespace AND c.relname = ANY($3)
                 AND c.relkind IN ('r', 'p', 'v', 'S')
                 -- The sequence of an identity column follows its table.
                 AND NOT EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                                    AND c.relkind = 'S')),
              routine AS (
              SELECT p.*, format('%I.%I(%s)', $1, p.proname, pg_get_function_identity_arguments(p.oid)) AS signature
                FROM pg_proc p
               WHERE p.pronamespace = quote_ident($1)::regnamespace AND p.proname = ANY($4)
                 AND NOT EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')),
              statement (position, sql) AS (
              SELECT 1, format('ALTER %s %I.%I SET SCHEMA %I',
                               CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                               $1, relname, $2)
                FROM relation
               UNION ALL
              -- A path without the schema, such as that of check_email_pair, stays.
              SELECT 2, format('ALTER ROUTINE %s SET search_path = %I, pg_temp', signature, $2)
                FROM routine
               WHERE proconfig && ARRAY[format('search_path=%I, pg_temp', $1), format('search_path=%I', $1)]
               UNION ALL
              SELECT 3, format('ALTER ROUTINE %s SET SCHEMA %I', signature, $2)
                FROM routine
               UNION ALL
              SELECT 4, format('ALTER TYPE %I.%I SET SCHEMA %I', $1, t.typname, $2)
                FROM pg_type t
               WHERE t.typnamespace = quote_ident($1)::regnamespace AND t.typname = ANY($5)
               UNION ALL
              -- The privileges stay, but they need the schema.
              SELECT DISTINCT 5, format('GRANT USAGE ON SCHEMA %I TO %s', $2,
                                        CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                                       ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
                FROM relation, aclexplode(relacl) AS a
               WHERE a.grantee <> relowner)
         SELECT sql FROM statement ORDER BY position, sql",
    )
    .bind(from)
    .bind(target)
    .bind(relations)
    .bind(functions)
    .bind(types)
    .fetch_all(connection)
    .await?;
    Ok(found)
}

fn quoted(schema: &str) -> String {
    format!("\"{}\"", schema.replace('"', "\"\""))
}
