//! The forms of the site.

use super::Account;
use crate::support::{OTHER_PASSWORD, PASSWORD};

const FORM: &str = "application/x-www-form-urlencoded";

/// Path and fields.
type Sent = (String, Vec<(&'static str, String)>);
type Send = fn(&Account) -> Sent;

/// A form and the response that it gets while its session is valid.
pub struct Form {
    /// As written in `src/server/routes.rs`.
    pub route: &'static str,
    pub what: &'static str,
    pub send: Send,
    /// Whether the session is recently authenticated.
    pub is_recently_authenticated: bool,
    pub content_type: &'static str,
    /// Status and location.
    pub expected: (u16, &'static str),
}

impl Form {
    /// Whether a deletion of the account was requested before.
    pub fn is_deletion_due(&self) -> bool {
        self.route != "/account/delete"
    }
}

fn form(
    route: &'static str,
    what: &'static str,
    expected: (u16, &'static str),
    send: Send,
) -> Form {
    Form { route, what, send, is_recently_authenticated: true, content_type: FORM, expected }
}

fn not_recently_authenticated(form: Form) -> Form {
    Form { is_recently_authenticated: false, ..form }
}

fn at(path: &str, fields: &[(&'static str, &str)]) -> Sent {
    let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    (path.to_owned(), fields)
}

/// Every form that acts for a session, with each kind of response that it gives.
pub fn forms() -> Vec<Form> {
    let mut forms = vec![
        form("/account/profile", "a new name", (303, "/account/profile"), |_| {
            at("/account/profile", &[("display_name", "Changed")])
        }),
        form("/account/profile", "an empty name", (422, ""), |_| {
            at("/account/profile", &[("display_name", "")])
        }),
        Form {
            content_type: "text/plain",
            ..form("/account/profile", "another content type", (415, ""), |_| {
                at("/account/profile", &[("display_name", "Changed")])
            })
        },
        form("/account/password", "a new password", (303, "/account/password"), |_| {
            let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
            at("/account/password", &fields)
        }),
        form("/account/password", "a wrong password", (422, ""), |_| {
            let fields = [("current_password", "not it"), ("new_password", OTHER_PASSWORD)];
            at("/account/password", &fields)
        }),
        form("/account/email", "another email", (303, "/account/email"), |account| {
            at("/account/email", &[("email", &format!("another.{}", account.email))])
        }),
        form("/account/email", "the same email", (422, ""), |account| {
            at("/account/email", &[("email", &account.email)])
        }),
        not_recently_authenticated(form(
            "/account/email",
            "another email, not recently authenticated",
            (403, ""),
            |account| at("/account/email", &[("email", &format!("another.{}", account.email))]),
        )),
        form("/account/email/verify", "another mail", (303, "/account/email"), |_| {
            at("/account/email/verify", &[])
        }),
        form(
            "/account/email/code",
            "the code for the own email",
            (303, "/account/email"),
            |account| at("/account/email/code", &[("verify_code", &account.verify.1)]),
        ),
        form(
            "/account/email/code",
            "the code for another email",
            (303, "/account/email"),
            |account| at("/account/email/code", &[("change_code", &account.change.1)]),
        ),
        form("/account/email/code", "a wrong code", (422, ""), |_| {
            at("/account/email/code", &[("verify_code", "AAAA-AAAA")])
        }),
        form(
            "/account/sessions/{id}/revoke",
            "another device",
            (303, "/account/sessions"),
            |account| at(&format!("/account/sessions/{}/revoke", account.ids[1]), &[]),
        ),
        form("/account/sessions/{id}/revoke", "this device", (303, "/"), |account| {
            at(&format!("/account/sessions/{}/revoke", account.ids[0]), &[])
        }),
        form("/account/sessions/{id}/revoke", "an unknown session", (404, ""), |_| {
            at("/account/sessions/01a20ac9-362c-7088-badc-46d695f6783a/revoke", &[])
        }),
        form("/account/sessions/revoke-others", "all others", (303, "/account/sessions"), |_| {
            at("/account/sessions/revoke-others", &[])
        }),
        not_recently_authenticated(form(
            "/account/confirm",
            "the password",
            (303, "/account/profile"),
            |_| at("/account/confirm", &[("password", PASSWORD), ("next", "/account/profile")]),
        )),
        not_recently_authenticated(form("/account/confirm", "a wrong password", (422, ""), |_| {
            at("/account/confirm", &[("password", "not it"), ("next", "/account/profile")])
        })),
        not_recently_authenticated(form("/account/confirm", "no password", (422, ""), |_| {
            at("/account/confirm", &[("password", ""), ("next", "/account/profile")])
        })),
        form("/account/export", "the export", (200, ""), |_| at("/account/export", &[])),
        not_recently_authenticated(form(
            "/account/export",
            "the export, not recently authenticated",
            (403, ""),
            |_| at("/account/export", &[]),
        )),
        form("/account/delete", "account deletion", (303, "/"), |_| at("/account/delete", &[])),
        not_recently_authenticated(form(
            "/account/delete",
            "account deletion, not recently authenticated",
            (403, ""),
            |_| at("/account/delete", &[]),
        )),
        form("/account/delete/cancel", "cancellation of the deletion", (303, "/account"), |_| {
            at("/account/delete/cancel", &[])
        }),
        form("/logout", "sign-out", (303, "/"), |_| at("/logout", &[])),
        form("/verify-email/link", "an unknown link", (410, ""), |_| {
            at("/verify-email/link", &[("link", "not sealed by this site")])
        }),
        form("/verify-email/{token}", "the own email", (303, "/account/email"), |account| {
            at(&account.verify.0, &[])
        }),
        form("/verify-email/{token}", "another email", (303, "/account/email"), |account| {
            at(&account.change.0, &[])
        }),
        form("/verify-email/{token}", "an unknown link", (410, ""), |_| {
            at(&format!("/verify-email/{}", "A".repeat(43)), &[])
        }),
    ];
    forms.sort_by_key(|form| (form.is_recently_authenticated, form.is_deletion_due()));
    forms
}

/// Forms that act for no session.
pub const FORMS_WITHOUT_SESSION: [&str; 10] = [
    "/register",
    "/login",
    "/verify-email",
    "/forgot-password",
    "/reset-password",
    "/invitation",
    "/undo-email-change",
    "/reset-password/{token}",
    "/invitation/{token}",
    "/undo-email-change/{token}",
];
