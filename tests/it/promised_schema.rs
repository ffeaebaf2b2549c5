//! docs/stable/schema.txt: the names in the database on which sites and reports rely.

use std::fs;

use crate::golden;
use crate::support::Database;

/// Compares a file of docs/stable/ with what was found.
pub fn compare(name: &str, found: &str) {
    golden::compare(name, found, "cargo test --features testing --test it promised");
}

/// The views, without those of extensions.
const VIEWS: &str = "(SELECT oid, relname FROM pg_class
                       WHERE relkind = 'v' AND relnamespace = current_schema()::regnamespace
                         AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')) AS views";

/// The columns of all views, with their types.
fn db_views(database: &Database) -> Vec<String> {
    database.db_texts(&format!(
        "SELECT format('%s %s %s', relname, attname, format_type(atttypid, atttypmod))
           FROM {VIEWS} JOIN pg_attribute ON attrelid = views.oid
          WHERE attnum > 0
          ORDER BY relname, attnum"
    ))
}

/// The primary key of users, to which foreign keys refer.
fn db_target(database: &Database) -> Vec<String> {
    database.db_texts(
        "SELECT format('users (%s) %s', attname, format_type(atttypid, atttypmod))
           FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
          WHERE contype = 'p' AND conrelid = 'users'::regclass",
    )
}

#[test]
fn the_promised_names_in_the_database_are_what_they_were() {
    let database = Database::new();
    let (views, target) = (db_views(&database), db_target(&database));
    assert!(views.len() > 20 && target.len() == 1, "{views:?} {target:?}");
    compare(
        "schema.txt",
        &format!(
            "## Columns of views\n{}\n\n## Target of foreign keys\n{}\n",
            views.join("\n"),
            target.join("\n")
        ),
    );
}

#[test]
fn the_documents_name_every_view_that_may_be_read() {
    let database = Database::new();
    let page = fs::read_to_string("docs/DBA.md").unwrap();
    let section = page.split("\n## What stays\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let readable = |role: &str| {
        database.db_texts(&format!(
            "SELECT relname::text FROM {VIEWS} WHERE has_table_privilege('{role}', oid, 'SELECT')"
        ))
    };
    for role in ["frontdesk_reader", "frontdesk_website"] {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{role}` |"))).unwrap();
        let views = readable(role);
        assert!(views.len() >= 4, "{views:?}");
        for name in views.iter().map(|view| format!("`{view}`")) {
            assert!(row.contains(&name), "docs/DBA.md: {role} may read {name}");
            assert!(section.contains(&name), "docs/DBA.md, What stays: {name}");
        }
    }
}
