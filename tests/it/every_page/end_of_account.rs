//! Activity, a copy of the data, a fresh proof, deletion and the way back.

use super::{Looker, db_exhaust};
use crate::support::webdriver::Window;
use crate::support::{Database, PASSWORD};

/// Activity, a copy of the data, a fresh proof, deletion and the way back.
pub(super) fn look_at_the_end_of_an_account(
    looker: &mut Looker,
    window: &Window<'_>,
    database: &Database,
    email: &str,
) {
    let old = "UPDATE sessions SET authenticated_at = now() - interval '1 day'";
    window.open("/account/activity");
    looker.look(window, "activity-few");
    database.db_execute(
        "INSERT INTO audit_events (event, user_id, actor, occurred_at, ip_address, user_agent, details)
         SELECT name, u.id, actor, now() - n * interval '9 hours', '2001:db8:85a3:8d3:1319:8a2e:370:7348',
                'Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/145.0 Mobile/15E148 Safari/605.1.15', details
           FROM users u,
                (VALUES ('account_disabled', 'operator', '{}'::jsonb), ('sign_in_refused', 'user', '{\"why\": \"wrong_password\"}'),
                        ('session_ended', 'system', '{\"cause\": \"deletion_requested\"}'), ('nobody_knows', 'system', '{}')) AS e (name, actor, details),
                generate_series(1, 20) AS n",
    );
    window.open("/account/activity");
    looker.look(window, "activity-many");
    window.click(".actions a");
    window.text("ol.events");
    looker.look(window, "activity-older");
    database.db_execute("DELETE FROM audit_events");
    window.open("/account/activity");
    looker.look(window, "activity-none");
    window.open("/account/activity?before=1");
    looker.look(window, "activity-nothing-older");
    window.open("/account/export");
    looker.look(window, "export");
    database.db_execute(old);
    window.open("/account/export");
    looker.look(window, "export-asks-first");
    window.open("/account/confirm?next=/account/profile");
    looker.look(window, "confirm");
    window.open("/account/delete");
    looker.look(window, "delete-asks-first");
    window.click("form[action='/account/delete'] button");
    window.text("#password");
    looker.look(window, "confirm-form");
    window.fill("password", "not the password");
    window.click("form[action='/account/confirm'] button");
    window.text("#password-problem");
    looker.look(window, "confirm-errors");
    db_exhaust(database);
    window.fill("password", "not the password");
    window.click("form[action='/account/confirm'] button");
    assert!(window.text("[role=alert][autofocus]").contains("Too many tries. Wait 40 minutes"));
    looker.look(window, "confirm-throttled");
    database.db_execute("DELETE FROM throttles");
    // A real browser sends on what it was about to send.
    window.fill("password", PASSWORD);
    window.click("form[action='/account/confirm'] button");
    window.wait_for_path("/");
    looker.look(window, "delete-notice");
    window.open("/login");
    window.fill("email", email);
    window.fill("password", PASSWORD);
    window.click("form[action='/login'] button");
    window.wait_for_path("/account/delete");
    looker.look(window, "delete-due");
    window.open("/account");
    looker.look(window, "overview-delete-due");
    window.open("/account/delete");
    window.click("form[action='/account/delete/cancel'] button");
    window.wait_for_path("/account");
    looker.look(window, "delete-canceled");
    window.open("/account/delete");
    looker.look(window, "delete-one-place");
}
