//! The contract of a session store, for any `SessionStore`, and the additional guarantees of ours.

use std::collections::HashMap;

use actix_session::storage::{SaveError, SessionKey, SessionStore};
use actix_web::cookie::time::Duration;
use frontdesk::session::{PgSessionStore, Timeouts};

use crate::support::Database;

const TTL: Duration = Duration::minutes(5);

fn state(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn key(text: &str) -> SessionKey {
    SessionKey::try_from(text.to_owned()).expect("a valid key")
}

fn copy(key: &SessionKey) -> SessionKey {
    self::key(key.as_ref())
}

/// Requirements on every store. State keys that a store adds itself are ignored.
pub async fn contract(store: &impl SessionStore) {
    let holds = |map: &HashMap<String, String>, pairs: &[(&str, &str)]| {
        pairs.iter().all(|(key, value)| map.get(*key).is_some_and(|found| found == value))
    };
    // A session that was never saved does not exist, whatever its key.
    for name in ["", "a", "' OR 1=1 --", &"A".repeat(43), &"é".repeat(20), &"x".repeat(4000)] {
        assert!(store.load(&key(name)).await.unwrap().is_none(), "{name}");
        store.delete(&key(name)).await.unwrap();
    }
    // Saved state is loaded unchanged, as JSON.
    let one = store.save(state(&[("a", "1"), ("b", r#"{"c":["é",null]}"#)]), &TTL).await.unwrap();
    let two = store.save(state(&[("a", "2")]), &TTL).await.unwrap();
    assert_ne!(one.as_ref(), two.as_ref());
    assert!(one.as_ref().len() >= 22, "at least 128 bits");
    assert!(holds(
        &store.load(&one).await.unwrap().unwrap(),
        &[("a", "1"), ("b", r#"{"c":["é",null]}"#)]
    ));
    // An update replaces the state, keeps the key, and does not affect other sessions.
    let kept = store.update(copy(&one), state(&[("a", "3")]), &TTL).await.unwrap();
    assert_eq!(kept.as_ref(), one.as_ref());
    let loaded = store.load(&one).await.unwrap().unwrap();
    assert!(holds(&loaded, &[("a", "3")]) && !loaded.contains_key("b"));
    assert!(holds(&store.load(&two).await.unwrap().unwrap(), &[("a", "2")]));
    store.update_ttl(&one, &TTL).await.unwrap();
    // A deleted session stays deleted: neither an update nor a longer TTL restores it, under any key.
    store.delete(&one).await.unwrap();
    store.delete(&one).await.unwrap();
    assert!(store.load(&one).await.unwrap().is_none());
    if let Ok(after) = store.update(copy(&one), state(&[("a", "4")]), &TTL).await {
        assert!(
            store.load(&after).await.unwrap().is_none(),
            "an update restored a deleted session"
        );
    }
    store.update_ttl(&one, &TTL).await.ok();
    assert!(store.load(&one).await.unwrap().is_none());
    assert!(holds(&store.load(&two).await.unwrap().unwrap(), &[("a", "2")]));
    store.delete(&two).await.unwrap();
}

#[test]
fn our_store_fulfills_the_contract() {
    let database = Database::new();
    let store = PgSessionStore::new(database.pool.clone(), Timeouts::default(), None);
    database.runtime.block_on(contract(&store));
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
}

#[test]
fn an_update_racing_a_delete_never_restores_the_session() {
    let database = Database::new();
    let stores = [
        PgSessionStore::new(database.pool.clone(), Timeouts::default(), None),
        PgSessionStore::new(database.pool.clone(), Timeouts::default(), None),
    ];
    database.runtime.block_on(async {
        for round in 0..1000 {
            let session = stores[0].save(state(&[("n", "0")]), &TTL).await.unwrap();
            let writes =
                futures_util::future::join_all((0..10).map(|number| {
                    let store = &stores[number % 2];
                    let session = copy(&session);
                    async move {
                        store.update(session, state(&[("n", &number.to_string())]), &TTL).await
                    }
                }));
            let (written, deleted) = tokio::join!(writes, stores[round % 2].delete(&session));
            deleted.unwrap();
            for key in written {
                assert!(stores[0].load(&key.unwrap()).await.unwrap().is_none());
            }
        }
    });
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
}

#[test]
fn a_deleted_session_cannot_be_renewed_from_its_loaded_state() {
    let database = Database::new();
    let store = PgSessionStore::new(database.pool.clone(), Timeouts::default(), None);
    database.runtime.block_on(async {
        let session = store.save(state(&[("user", "1")]), &TTL).await.unwrap();
        let loaded = store.load(&session).await.unwrap().unwrap();
        // The session is deleted elsewhere; then actix-session's renew() without a clear() saves the loaded
        // state.
        store.delete(&session).await.unwrap();
        let renewed = store.save(loaded, &TTL).await;
        let error = renewed.map(|_| ()).unwrap_err();
        assert!(matches!(&error, SaveError::Other(why) if why.to_string().contains("clear()")));
    });
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0);
}

#[test]
fn a_request_still_running_after_its_account_was_disabled_writes_no_state() {
    const USER: &str = "01a20ac9-362c-7088-badc-46d695f6783a";
    let database = Database::new();
    database.db_execute(&format!(
        "INSERT INTO users (id, email, email_canonical, display_name)
         VALUES ('{USER}', 'ada@example.com', 'ada@example.com', 'Ada')"
    ));
    let store = PgSessionStore::new(database.pool.clone(), Timeouts::default(), None);
    let (session, loaded) = database.runtime.block_on(async {
        let user = format!("\"{USER}\"");
        let new = state(&[("actix_identity.user_id", &user), ("cart", "1")]);
        let session = store.save(new, &TTL).await.unwrap();
        let loaded = store.load(&session).await.unwrap().unwrap();
        (session, loaded)
    });
    let cart_after_update = |number: &str| {
        let mut changed = loaded.clone();
        changed.insert("cart".to_owned(), number.to_owned());
        database.runtime.block_on(store.update(copy(&session), changed, &TTL)).unwrap();
        database.db_texts("SELECT state->>'cart' FROM sessions").remove(0)
    };
    assert_eq!(cart_after_update("2"), "2");
    // The triggers would delete the session of a disabled user.
    database.db_execute("ALTER TABLE users DISABLE TRIGGER USER");
    database.db_execute("UPDATE users SET disabled_at = now()");
    assert_eq!(cart_after_update("3"), "2");
}

#[test]
fn state_is_json_and_does_not_repeat_columns() {
    let database = Database::new();
    let store = PgSessionStore::new(database.pool.clone(), Timeouts::default(), None);
    database.runtime.block_on(async {
        let session = store.save(state(&[("cart", r#"["bell"]"#)]), &TTL).await.unwrap();
        let mut loaded = store.load(&session).await.unwrap().unwrap();
        loaded.insert("more".to_owned(), "true".to_owned());
        store.update(session, loaded, &TTL).await.unwrap();
    });
    assert_eq!(
        database.db_texts("SELECT state::text FROM sessions"),
        [r#"{"cart": ["bell"], "more": true}"#]
    );
}

#[test]
fn rows_of_the_next_format_are_read_and_later_formats_are_ignored() {
    let database = Database::new();
    let store = PgSessionStore::new(database.pool.clone(), Timeouts::default(), None);
    database.runtime.block_on(async {
        let session = store.save(state(&[("a", "1")]), &TTL).await.unwrap();
        set_format_version(&database, 2).await;
        assert!(store.load(&session).await.unwrap().is_some());
        set_format_version(&database, 3).await;
        assert!(store.load(&session).await.unwrap().is_none());
    });
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1);
}

async fn set_format_version(database: &Database, version: i16) {
    sqlx::query("UPDATE sessions SET format_version = $1")
        .bind(version)
        .execute(&database.pool)
        .await
        .unwrap();
}
