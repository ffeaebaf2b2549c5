//! Benchmarks of the session layer on the path of one signed-in page: the cookie guard, decrypting the
//! cookie, the digest, the cache, the map for actix-session. Run with `cargo bench --bench hot_path`. The
//! cache and the map are compiled from the source files of the program. Needs no database.

// The included files contain items that only the program or their own tests use.
#![allow(dead_code, unused_imports)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use actix_web::cookie::{Cookie, CookieJar, Key};
use actix_web::dev::Service;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, test, web};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use frontdesk::crypto::secret::Secret;
use frontdesk::id::{SessionId, UserId};
use frontdesk::user::password::context::PasswordContext;
use frontdesk::user::password::policy::PasswordPolicy;
use frontdesk::web::cookie_guard::{self, SessionCookie};
use time::OffsetDateTime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "../src/session/cache/entries.rs"]
mod entries;
#[path = "../src/session/state.rs"]
mod state;

/// The synchronization types of `entries.rs`.
mod sync {
    pub use std::sync::Mutex;
    pub use std::sync::atomic::{AtomicU64, Ordering};
}
/// Imported by `state.rs`.
mod cache {
    pub mod clock {
        pub use frontdesk::session::cache::clock::MonotonicInstant;
    }
}
mod audit {
    pub use frontdesk::audit::Origin;
}
mod id {
    pub use frontdesk::id::{SessionId, UserId};
}
mod role {
    pub use frontdesk::role::Role;
}

const NEVER: u64 = u64::MAX;

fn key() -> Key {
    Key::derive_from(b"a key for this benchmark only, which must not be used elsewhere")
}

fn sealed(secret: &Secret) -> String {
    let mut jar = CookieJar::new();
    jar.private_mut(&key()).add(Cookie::new("session", secret.reveal()));
    jar.get("session").map(|cookie| cookie.value().to_owned()).unwrap_or_default()
}

/// A request to an empty application, without and with the guard. The difference is the cost of the guard.
fn guard(criterion: &mut Criterion) {
    let system = actix_web::rt::System::new();
    let cookies = SessionCookie::new(false, vec![key()]);
    let header = format!("session={}", sealed(&Secret::generate()));
    let request = || {
        test::TestRequest::get()
            .uri("/")
            .insert_header(("cookie", header.as_str()))
            .app_data(web::Data::new(cookies.clone()))
            .to_request()
    };
    let handler = || async { HttpResponse::NoContent().finish() };
    let bare = system.block_on(test::init_service(App::new().route("/", web::get().to(handler))));
    let app = App::new().app_data(web::Data::new(cookies.clone()));
    let app = app.wrap(from_fn(cookie_guard::guard)).route("/", web::get().to(handler));
    let guarded = system.block_on(test::init_service(app));
    criterion.bench_function("a request without the cookie guard", |bencher| {
        bencher.iter_batched(
            request,
            |request| system.block_on(bare.call(request)).map(|response| response.status()),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("a request with the cookie guard", |bencher| {
        bencher.iter_batched(
            request,
            |request| system.block_on(guarded.call(request)).map(|response| response.status()),
            BatchSize::SmallInput,
        );
    });
}

/// The decryption that `CookieJar::private` does for actix-session.
fn unseal(criterion: &mut Criterion) {
    let (key, value) = (key(), sealed(&Secret::generate()));
    criterion.bench_function("unseal the cookie", |bencher| {
        bencher.iter(|| {
            let mut jar = CookieJar::new();
            jar.add_original(Cookie::new("session", black_box(value.clone())));
            jar.private(&key).get("session")
        });
    });
}

fn digest(criterion: &mut Criterion) {
    let text = Secret::generate().reveal();
    criterion.bench_function("digest of the secret", |bencher| {
        bencher.iter(|| Secret::parse(black_box(&text)).map(|secret| secret.digest()));
    });
}

/// A cache of the size that `store.rs` creates, with 100,000 sessions in it.
fn cache_hit(criterion: &mut Criterion) {
    let cache = entries::Cache::new(200_000, 1 << 16, 64);
    cache.set_live_until(NEVER);
    let digests: Vec<_> = (0..100_000).map(|_| Secret::generate().digest()).collect();
    let stripe = |digest: &frontdesk::crypto::secret::Digest| {
        let bytes = digest.as_bytes();
        entries::Stripe::from_be_bytes([bytes[0], bytes[1]])
    };
    for digest in &digests {
        let entry = entries::Entry::new(cache.stamp(), Some(7), NEVER - 1, 0_u64);
        cache.put(digest.clone(), stripe(digest), Arc::new(entry), 0);
    }
    let mut number = 0;
    criterion.bench_function("cache hit, one of 100,000", |bencher| {
        bencher.iter(|| {
            number = (number + 1) % digests.len();
            let digest = &digests[number];
            cache.get(digest, stripe(digest), black_box(1)).map(|entry| entry.value)
        });
    });
}

/// The map that actix-session gets for a cache hit, and parsing the value that handlers read.
fn state_map(criterion: &mut Criterion) {
    let row = state::SessionRow {
        id: SessionId::generate(),
        remembered: false,
        created_at: OffsetDateTime::UNIX_EPOCH,
        authenticated_at: Some(OffsetDateTime::UNIX_EPOCH),
        absolute_seconds: 86_400,
        ages: state::Ages::default(),
        user: Some(Arc::new(state::Account {
            id: UserId::generate(),
            email: "ada@example.com".to_owned(),
            email_is_verified: true,
            display_name: "Ada".to_owned(),
            role: frontdesk::role::Role::User,
            groups: Box::default(),
        })),
    };
    let session =
        state::CachedSession::new(row, serde_json::json!({})).expect("a row is valid JSON");
    criterion.bench_function("state map of a hit", |bencher| {
        bencher.iter(|| black_box(&session).to_map());
    });
    let map: HashMap<String, String> = session.to_map();
    criterion.bench_function(
        "session info, parsed from its JSON (no longer done for a hit)",
        |bencher| {
            bencher.iter(|| {
                let text = black_box(&map).get("frontdesk.current")?;
                serde_json::from_str::<state::SessionInfo>(text).ok()
            });
        },
    );
}

/// The rules for a new password that none of them refuses.
fn new_password(criterion: &mut Criterion) {
    let policy = PasswordPolicy { min_length: 8 };
    let context = PasswordContext {
        email: "ada@example.com",
        display_name: "Ada Lovelace",
        site_name: "Frontdesk",
        host: "desk.example.com",
    };
    criterion.bench_function("check of a new password", |bencher| {
        bencher.iter(|| policy.check(black_box("quiet corner with a lamp"), &context).is_ok());
    });
}

criterion_group! {
    name = hot_path;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = guard, unseal, digest, cache_hit, state_map, new_password
}
criterion_main!(hot_path);
