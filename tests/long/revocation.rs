//! 250,000 sessions of one user end in under five seconds, by page, by command and in psql.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, registered, server::KEY, site};

const COUNT: i64 = 250_000;
const EMAIL: &str = "ada@example.com";

/// Gives the user [`COUNT`] sessions besides that of the browser.
fn db_fill(database: &Database) {
    database.db_execute(&format!(
        "INSERT INTO sessions (token_digest, id, user_id, authenticated_at, auth_methods, idle_timeout,
                               expires_at, absolute_expires_at)
         SELECT sha256(gen_random_uuid()::text::bytea), gen_random_uuid(), u.id, now(), '{{pwd}}', interval '1 day',
                now() + interval '1 day', now() + interval '1 day'
           FROM generate_series(1, {COUNT}), users u
          WHERE u.email = '{EMAIL}'"
    ));
    database.db_execute("VACUUM ANALYZE sessions");
}

fn command(database: &Database, arguments: &[&str]) {
    let status = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .status();
    assert!(status.expect("the program starts").success(), "{arguments:?}");
}

#[test]
fn ending_250000_sessions_takes_less_than_five_seconds() {
    let (server, database) = site();
    let mut browser = registered(&server, EMAIL);
    type Way<'a> = (&'a str, &'a dyn Fn(&mut Browser, &Database));
    let ways: [Way<'_>; 5] = [
        ("change of password", &|browser, _| {
            let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
            assert_eq!(browser.post("/account/password", &fields).status, 303);
        }),
        ("sign out everywhere else", &|browser, _| {
            assert_eq!(browser.post("/account/sessions/revoke-others", &[]).status, 303);
        }),
        ("psql", &|_, database| {
            assert!(database.db_execute("DELETE FROM sessions") as i64 >= COUNT);
        }),
        ("session revoke --user", &|_, database| {
            command(database, &["session", "revoke", "--user", EMAIL]);
        }),
        ("user disable", &|_, database| command(database, &["user", "disable", EMAIL])),
    ];
    for (name, end) in ways {
        db_fill(&database);
        let began = Instant::now();
        end(&mut browser, &database);
        let took = began.elapsed();
        println!("{name}: {:.1} s", took.as_secs_f64());
        assert!(database.db_count("SELECT count(*) FROM sessions") <= 1);
        assert!(took < Duration::from_secs(5), "{name} took {took:?}");
    }
}
