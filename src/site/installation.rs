//! The row of `installation`: which program serves this database. Owns the table. Every server writes the row at its
//! start.
//!
//! A program without the site's hooks would skip them: `frontdesk user delete` beside a site would delete an account
//! without its deletion hook. So it refuses to serve and to change users.

use sqlx::PgPool;

use crate::{db, program};

/// The database belongs to a site whose hooks this program does not have.
#[derive(Debug, thiserror::Error)]
#[error(
    "this database belongs to the site “{site_name}”, and its program is {its_program}. That program has hooks that {} does not have and would skip: {}. Use {its_program}. If the site no longer has these hooks, run in psql: UPDATE {schema}.installation SET hook_names = '{{}}';",
    program::name(),
    .missing.join(", ")
)]
pub struct WrongProgram {
    site_name: String,
    its_program: String,
    missing: Vec<String>,
    schema: String,
}

/// Whether a program with the hooks `hook_names` may change users.
pub async fn check(pool: &PgPool, hook_names: &[String]) -> sqlx::Result<Result<(), WrongProgram>> {
    let wrong = sqlx::query_as!(
        WrongProgram,
        r#"
        SELECT site_name,
               program AS its_program,
               ARRAY(SELECT unnest(hook_names) EXCEPT SELECT unnest($1::text[]) ORDER BY 1) AS "missing!",
               quote_ident(current_schema()) AS "schema!"
          FROM installation
         WHERE NOT hook_names <@ $1
        "#,
        hook_names,
    )
    .fetch_optional(db::on(pool))
    .await?;
    Ok(wrong.map_or(Ok(()), Err))
}

/// Writes the row at the start of a server, unless this is the wrong program.
pub async fn record(
    pool: &PgPool,
    site_name: &str,
    hook_names: &[String],
) -> sqlx::Result<Result<(), WrongProgram>> {
    let recorded = sqlx::query!(
        r#"
        INSERT INTO installation AS i (site_name, program, hook_names, crate_version)
        VALUES ($1, $2, $3, $4)
            ON CONFLICT ON CONSTRAINT installation_pkey DO UPDATE
           SET site_name = EXCLUDED.site_name,
               program = EXCLUDED.program,
               hook_names = EXCLUDED.hook_names,
               crate_version = EXCLUDED.crate_version,
               last_started_at = now()
         WHERE i.hook_names <@ EXCLUDED.hook_names
        "#,
        site_name,
        program::name(),
        hook_names,
        env!("CARGO_PKG_VERSION"),
    )
    .execute(db::on(pool))
    .await?;
    match recorded.rows_affected() {
        0 => check(pool, hook_names).await,
        _ => Ok(Ok(())),
    }
}
