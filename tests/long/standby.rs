//! A lagging standby, observed for longer than a cache entry may live (one minute).

use std::time::{Duration, Instant};

use crate::support::breakpoint::until;
use crate::support::registered;
use crate::support::standby::Site;

#[test]
fn revoked_sessions_stay_refused_for_over_a_minute_after_a_lagging_standby() {
    let site = Site::new("long");
    let mut ada = registered(&site.server, "ada@example.com");
    let cookies = site.primary.db_create_sessions("ada@example.com", 20);
    site.standby.db_pause_replay(&site.primary);
    let revoke = "DELETE FROM sessions WHERE id NOT IN (SELECT id FROM sessions ORDER BY created_at LIMIT 1)";
    assert_eq!(site.primary.db_execute(revoke), 20);
    site.fail_over();
    let (mut requests, began) = (0, Instant::now());
    while began.elapsed() < Duration::from_secs(10) {
        for cookie in &cookies {
            assert_eq!(site.profile_status(cookie), 503);
            requests += 1;
        }
    }
    site.fail_back();
    until(|| ada.get("/account").status == 200);
    let healed = Instant::now();
    while healed.elapsed() < Duration::from_secs(70) {
        for cookie in &cookies {
            assert_eq!(
                site.profile_status(cookie),
                303,
                "{:?} after the failback",
                healed.elapsed()
            );
            requests += 1;
        }
        assert!(ada.is_signed_in());
    }
    println!("{requests} requests with revoked sessions: none was accepted");
}
