//! Activity, data export, reauthentication, account deletion and its cancellation.

use super::{PageChecker, db_rate_limit_all};
use crate::support::webdriver::Window;
use crate::support::{Database, PASSWORD};

pub(super) fn check_account_deletion(
    checker: &mut PageChecker,
    window: &Window<'_>,
    database: &Database,
    email: &str,
) {
    let expire_authentication = "UPDATE sessions SET authenticated_at = now() - interval '1 day'";
    window.open("/account/activity");
    checker.check(window, "activity-few");
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
    checker.check(window, "activity-many");
    window.click(".actions a");
    window.text("ol.events");
    checker.check(window, "activity-older");
    database.db_execute("DELETE FROM audit_events");
    window.open("/account/activity");
    checker.check(window, "activity-none");
    window.open("/account/activity?before=1");
    checker.check(window, "activity-nothing-older");
    window.open("/account/export");
    checker.check(window, "export");
    database.db_execute(expire_authentication);
    window.open("/account/export");
    checker.check(window, "export-asks-first");
    window.open("/account/confirm?next=/account/profile");
    checker.check(window, "confirm");
    window.open("/account/delete");
    checker.check(window, "delete-asks-first");
    window.click("form[action='/account/delete'] button");
    window.text("#password");
    checker.check(window, "confirm-form");
    window.fill("password", "not the password");
    window.click("form[action='/account/confirm'] button");
    window.text("#password-problem");
    checker.check(window, "confirm-errors");
    db_rate_limit_all(database);
    window.fill("password", "not the password");
    window.click("form[action='/account/confirm'] button");
    assert!(window.text("[role=alert][autofocus]").contains("Too many attempts. Wait 10 minutes"));
    checker.check(window, "confirm-throttled");
    database.db_execute("DELETE FROM throttles");
    // A real browser follows the 307 and sends the original request.
    window.fill("password", PASSWORD);
    window.click("form[action='/account/confirm'] button");
    window.wait_for_path("/");
    checker.check(window, "delete-notice");
    window.open("/login");
    window.fill("email", email);
    window.fill("password", PASSWORD);
    window.click("form[action='/login'] button");
    window.wait_for_path("/account/delete");
    checker.check(window, "delete-due");
    window.open("/account");
    checker.check(window, "overview-delete-due");
    window.open("/account/delete");
    window.click("form[action='/account/delete/cancel'] button");
    window.wait_for_path("/account");
    checker.check(window, "delete-canceled");
    window.open("/account/delete");
    checker.check(window, "delete-one-place");
}
