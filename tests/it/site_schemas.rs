//! The two schemas of a site: Frontdesk's tables and its own.

use sqlx::{Connection as _, PgConnection};

use crate::support::breakpoint::until;
use crate::support::website::{run, start};
use crate::support::{Database, registered};

/// Tables and a function in the site's schema that are named like Frontdesk's.
const NAMESAKES: [&str; 8] = [
    "CREATE TABLE public.users (id uuid, email text, disabled_at timestamptz)",
    "CREATE TABLE public.sessions (id uuid, user_id uuid)",
    "CREATE TABLE public.audit_events (event text, user_id uuid, session_id uuid, actor text, details jsonb)",
    "CREATE TABLE public.ended_sessions (token_digest bytea)",
    "CREATE TABLE public.session_cache_resets (singleton boolean PRIMARY KEY DEFAULT true, resets bigint, last_reset_at timestamptz)",
    "CREATE FUNCTION public.announce_change(text, text) RETURNS void LANGUAGE sql AS ''",
    "CREATE FUNCTION public.notification_channel(text) RETURNS text LANGUAGE sql AS $$ SELECT 'elsewhere' $$",
    "CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT '' $$",
];

#[test]
fn every_function_of_frontdesk_has_a_fixed_search_path_in_every_schema() {
    for (database, schema) in [(Database::new(), "public"), (Database::empty(), "desk")] {
        if schema != "public" {
            let settings = [("FRONTDESK_SCHEMA", schema), ("SHOP_GREETING", "Hello")];
            let (code, text) = run("site-under-test", &database, &["migrate", "run"], &settings);
            assert_eq!(code, Some(0), "{text}");
        }
        let functions = |condition: &str| {
            database.db_texts(&format!(
                "SELECT p.oid::regprocedure::text FROM pg_proc p
                  WHERE p.pronamespace = '{schema}'::regnamespace
                    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
                    AND {condition}"
            ))
        };
        assert!(functions("true").len() > 15);
        let fixed = format!(
            "p.proconfig && ARRAY['search_path={schema}, pg_temp', 'search_path=pg_catalog']"
        );
        let open = functions(&format!("({fixed}) IS NOT TRUE"));
        assert!(open.is_empty(), "without SET search_path: {open:?}");
    }
}

#[test]
fn tables_and_functions_of_a_site_never_stand_in_for_those_of_frontdesk() {
    let database = Database::empty();
    let (code, text) = run("notes", &database, &["migrate", "run"], &[]);
    assert_eq!(code, Some(0), "{text}");
    for statement in NAMESAKES {
        database.db_execute(statement);
    }
    let servers = [start("notes", &database, &[]), start("notes", &database, &[])];
    let servers = servers.map(|server| server.until_live());
    let mut ada = registered(&servers[0], "ada@example.com");
    let bob = registered(&servers[0], "bob@example.com");
    assert!(ada.on_server(&servers[1].addr).is_signed_in());
    assert_eq!(ada.post("/notes", &[("body", "Milk")]).status, 303);
    assert_eq!(ada.post("/logout", &[]).status, 303);
    assert!(!ada.on_server(&servers[1].addr).is_signed_in());
    // The site's search path, as a statement of one of its handlers has it, with the namesakes even before pg_catalog.
    let delete = "SET search_path = public, pg_catalog, frontdesk; DELETE FROM frontdesk.sessions";
    database.runtime.block_on(async {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        sqlx::raw_sql(delete).execute(&mut connection).await.unwrap();
    });
    for server in &servers {
        until(|| !bob.on_server(&server.addr).is_signed_in());
        assert!(!server.log().contains("did not confirm"), "{}", server.log());
    }
    let by_database = "SELECT count(*) FROM frontdesk.audit_events WHERE actor = 'database'
                          AND event = 'session_ended' AND details->>'cause' = 'revoked'";
    assert_eq!(database.db_count(by_database), 1);
    for table in ["users", "sessions", "audit_events", "ended_sessions", "session_cache_resets"] {
        assert_eq!(
            database.db_count(&format!("SELECT count(*) FROM public.{table}")),
            0,
            "{table}"
        );
    }
    let (code, text) =
        run("notes", &database, &["user", "delete", "ada@example.com", "--yes"], &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(database.db_count("SELECT count(*) FROM frontdesk.users"), 1);
}

#[test]
fn the_role_of_a_website_reads_the_views_refers_to_users_and_owns_the_schema_of_the_site() {
    let database = Database::empty();
    let (code, text) = run("notes", &database, &["migrate", "run"], &[]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run("notes", &database, &["migrate", "roles"], &[]);
    assert!(code == Some(0) && text.contains("frontdesk_website_frontdesk"), "{text}");
    database.db_execute("CREATE TABLE public.later (id bigint GENERATED ALWAYS AS IDENTITY)");
    let may = |what: &str| {
        let sql = format!(
            "BEGIN; SET LOCAL ROLE frontdesk_website_frontdesk; SET LOCAL search_path = public, frontdesk; {what}; ROLLBACK"
        );
        database.runtime.block_on(async {
            let mut connection = PgConnection::connect(&database.url).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.is_ok()
        })
    };
    for what in [
        "SELECT id, email, email_verified_at, display_name, role, language, created_at, disabled_at FROM user_profiles",
        "SELECT * FROM active_sessions",
        "SELECT * FROM audit_log",
        "CREATE TABLE orders (id int, buyer uuid REFERENCES frontdesk.users (id) ON DELETE CASCADE)",
        "INSERT INTO notes (owner_id, body) SELECT id, 'x' FROM user_profiles",
        "INSERT INTO later DEFAULT VALUES",
        "DROP TABLE IF EXISTS orders",
    ] {
        assert!(may(what), "{what}");
    }
    for what in [
        "SELECT id FROM frontdesk.users",
        "SELECT * FROM frontdesk.sessions",
        "DELETE FROM frontdesk.users",
        "UPDATE user_profiles SET role = 'admin'",
        "CREATE TABLE frontdesk.mine (id int)",
    ] {
        assert!(!may(what), "{what}");
    }
    let (code, printed) = run("notes", &database, &["migrate", "roles", "--print"], &[]);
    assert!(
        code == Some(0)
            && printed.starts_with(
                "SET search_path = frontdesk;\nSET frontdesk.site_schema = 'public';\n"
            ),
        "{printed}"
    );
    database.db_execute("REVOKE ALL ON SCHEMA public FROM frontdesk_website_frontdesk");
    database.runtime.block_on(async {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(printed)).execute(&mut connection).await.unwrap();
    });
    assert!(may("CREATE TABLE orders (id int)"), "what is printed does the same");
}
