//! Foreign keys of other tables to those of Frontdesk: a site's, or those that a DBA added.

use sqlx::PgPool;

use super::own_objects::OwnObjects;

/// A foreign key of another table.
#[derive(Debug, sqlx::FromRow)]
pub struct ForeignKey {
    /// The table that has it.
    table: String,
    /// Its name.
    constraint: String,
    /// Frontdesk's table.
    target: String,
    /// It has no `ON DELETE`, so that a row with references cannot be deleted.
    blocks_deletion: bool,
    /// No index begins with its columns, so that each deletion reads the whole table.
    is_without_index: bool,
    alter_table: String,
    create_index: String,
}

impl ForeignKey {
    /// For a list: table and constraint.
    pub fn name(&self) -> String {
        format!("{} ({})", self.table, self.constraint)
    }

    /// What is wrong with it, each with the statement that helps.
    pub fn warnings(&self) -> Vec<String> {
        let Self { table, constraint, target, alter_table, create_index, .. } = self;
        let mut warnings = Vec::new();
        if self.blocks_deletion {
            warnings.push(format!(
                "The foreign key {constraint} of {table} has no ON DELETE: a row of {target} to which it refers cannot be deleted. Run: {alter_table} (or ON DELETE SET NULL)"
            ));
        }
        if self.is_without_index {
            warnings.push(format!(
                "The foreign key {constraint} of {table} has no index: each deletion in {target} reads all of {table}. Run: {create_index}"
            ));
        }
        warnings
    }
}

/// Lists up to 20 of them by name.
pub async fn list(pool: &PgPool) -> sqlx::Result<Vec<ForeignKey>> {
    sqlx::query_as(
        "SELECT source.oid::regclass::text AS table,
                c.conname::text AS constraint,
                target.oid::regclass::text AS target,
                c.confdeltype IN ('a', 'r') AS blocks_deletion,
                NOT EXISTS (SELECT FROM pg_index i
                             WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indpred IS NULL
                               AND i.indnkeyatts >= cardinality(c.conkey)
                               AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey) AS is_without_index,
                format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I FOREIGN KEY (%s) REFERENCES %I.%I (%s) ON DELETE CASCADE;',
                       source.oid::regclass, c.conname, c.conname, columns.here, own.nspname, target.relname, columns.there)
                    AS alter_table,
                format('CREATE INDEX CONCURRENTLY ON %s (%s);', source.oid::regclass, columns.here) AS create_index
           FROM pg_constraint c
           JOIN pg_class source ON source.oid = c.conrelid
           JOIN pg_class target ON target.oid = c.confrelid
           JOIN pg_namespace own ON own.oid = target.relnamespace AND own.nspname = current_schema(),
                LATERAL (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.position) AS here,
                                string_agg(quote_ident(b.attname), ', ' ORDER BY k.position) AS there
                           FROM unnest(c.conkey, c.confkey) WITH ORDINALITY AS k (here, there, position)
                           JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.here
                           JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.there) AS columns
          WHERE c.contype = 'f'
            AND c.conparentid = 0
            AND target.relname = ANY($1)
            AND NOT (source.relnamespace = target.relnamespace AND source.relname = ANY($1))
          ORDER BY 1, 2
          LIMIT 20",
    )
    .bind(OwnObjects::all().relations())
    .fetch_all(super::on(pool))
    .await
}
