//! What else ends sessions is as final as a logout (`revocation.rs`): ending all others, a change of password, and an
//! operator who disables an account, also while a server can not hear of it.

use std::time::Instant;

use crate::command_line::run;
use crate::revocation::{Cluster, EMAIL, TERMINATE, judged, posts, with_cookie};
use crate::support::history::History;
use crate::support::proxy::Link;
use crate::support::{OTHER_PASSWORD, PASSWORD};

/// Each by two people at a time, who end so many.
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
    let people = 2 * ways * EACH;
    database.db_create_users(EMAIL, faults.len() * people);
    for (round, (name, fault)) in faults.into_iter().enumerate() {
        let sessions: Vec<(String, Vec<String>)> = (round * people..(round + 1) * people)
            .map(|guest| format!("user{guest}@example.com"))
            .map(|email| (email.clone(), database.db_create_sessions(&email, 2)))
            .collect();
        cluster.trusted();
        let (history, sessions) = (&History::default(), &sessions);
        let began = Instant::now();
        fault();
        std::thread::scope(|scope| {
            for person in 0..2 * ways {
                scope.spawn(move || {
                    for number in (person..people).step_by(2 * ways) {
                        let (email, cookies) = &sessions[number];
                        let here =
                            |server: usize| with_cookie(&cluster.servers[server], &cookies[0]);
                        let by = |server| match person % ways {
                            0 => posts(&mut here(server), "/account/sessions/revoke-others", &[]),
                            1 => {
                                let fields = [
                                    ("current_password", PASSWORD),
                                    ("new_password", OTHER_PASSWORD),
                                ];
                                posts(&mut here(server), "/account/password", &fields)
                            }
                            _ => run(database, &["user", "disable", email], "").code == 0,
                        };
                        cluster.live(history, number, &cookies[1], &by);
                    }
                });
            }
        });
        println!("{}", judged(name, &history.check()));
        let (ends, refused) = history.during(began..Instant::now(), 2);
        assert_eq!(ends, people, "{name}");
        assert!(refused.iter().all(|refused| *refused >= people / 2), "{name}: {refused:?}");
        cluster.proxies[1].set(Link::Up);
        cluster.proxies[1].reset();
    }
}
