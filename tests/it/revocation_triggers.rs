//! Other revocations are as final as a sign-out (`revocation.rs`): revoking all other sessions, a password
//! change, and an operator who disables an account. This also holds while a server receives no notifications.

use std::time::Instant;

use crate::command_line::run;
use crate::revocation::{Cluster, EMAIL, TERMINATE, checked_summary, post_succeeds, with_cookie};
use crate::support::history::History;
use crate::support::proxy::Link;
use crate::support::{OTHER_PASSWORD, PASSWORD};

/// Revocations per thread; two threads revoke in each of the three ways.
const EACH: usize = 10;

#[test]
fn revoking_others_a_new_password_and_disabling_are_final_despite_listener_failures() {
    let cluster = &Cluster::new(2);
    let (ways, database) = (3, &cluster.database);
    let faults: [(&str, &dyn Fn()); 3] = [
        ("healthy", &|| ()),
        ("listener killed by pg_terminate_backend", &|| drop(database.db_texts(TERMINATE))),
        ("listener half-open", &|| cluster.proxies[1].set(Link::BlackHole)),
    ];
    let users = 2 * ways * EACH;
    database.db_create_users(EMAIL, faults.len() * users);
    for (round, (name, fault)) in faults.into_iter().enumerate() {
        let sessions: Vec<(String, Vec<String>)> = (round * users..(round + 1) * users)
            .map(|number| format!("user{number}@example.com"))
            .map(|email| (email.clone(), database.db_create_sessions(&email, 2)))
            .collect();
        cluster.until_live();
        let (history, sessions) = (&History::default(), &sessions);
        let began = Instant::now();
        fault();
        std::thread::scope(|scope| {
            for thread in 0..2 * ways {
                scope.spawn(move || {
                    for number in (thread..users).step_by(2 * ways) {
                        let (email, cookies) = &sessions[number];
                        let here =
                            |server: usize| with_cookie(&cluster.servers[server], &cookies[0]);
                        let by = |server| match thread % ways {
                            0 => post_succeeds(
                                &mut here(server),
                                "/account/sessions/revoke-others",
                                &[],
                            ),
                            1 => {
                                let fields = [
                                    ("current_password", PASSWORD),
                                    ("new_password", OTHER_PASSWORD),
                                ];
                                post_succeeds(&mut here(server), "/account/password", &fields)
                            }
                            _ => run(database, &["user", "disable", email], "").code == 0,
                        };
                        cluster.revoke_under_traffic(history, number, &cookies[1], &by);
                    }
                });
            }
        });
        println!("{}", checked_summary(name, &history.check()));
        let (revoked, refused) = history.during(began..Instant::now(), 2);
        assert_eq!(revoked, users, "{name}");
        assert!(refused.iter().all(|refused| *refused >= users / 2), "{name}: {refused:?}");
        cluster.proxies[1].set(Link::Up);
        cluster.proxies[1].reset();
    }
}
