//! A site with links of every kind, and its visitors.

use std::collections::BTreeMap;

use crate::invitations::invite;
use crate::support::mail::{Mail, db_clear_rate_limits, db_mail, db_mails};
use crate::support::routes::Route;
use crate::support::{Browser, Database, PASSWORD, Response, Server, registered};

/// A mail server that refuses connections, so that mail is on and every mail stays in the outbox.
pub(super) const NO_MAIL_SERVER: [(&str, &str); 2] = [
    ("FRONTDESK_SMTP_URL", "smtp://127.0.0.1:9"),
    ("FRONTDESK_MAIL_FROM", "Frontdesk <desk@example.com>"),
];

/// Two servers on one database. The one on https asks for verified emails.
pub(super) struct Site {
    pub(super) database: Database,
    pub(super) http: Server,
    pub(super) https: Server,
    /// The secret of a valid link, by the kind of its mail.
    tokens: BTreeMap<&'static str, String>,
    /// The browser that registered on https.
    registering: Browser,
    mail_id: String,
    session_id: String,
    style_sheet: String,
}

/// Someone who opens every page.
pub(super) struct Visitor {
    pub(super) name: &'static str,
    pub(super) is_signed_in: bool,
    pub(super) browser: Browser,
}

/// Starts a server with the public URL https://desk.example.com and verified registration.
pub(super) fn start_https(database: &Database, more: &[(&str, &str)]) -> Server {
    let own = [
        ("FRONTDESK_PUBLIC_URL", "https://desk.example.com"),
        ("FRONTDESK_REGISTRATION", "verified"),
        // Otherwise several sign-ins from this machine reach the limit of its IP address.
        ("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    Server::start(database, &[&own[..], &NO_MAIL_SERVER, more].concat())
}

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.body);
}

/// A browser signed in to an existing account.
fn signed_in(server: &Server, database: &Database, email: &str) -> Browser {
    db_clear_rate_limits(database);
    let mut browser = server.browser();
    expect(&browser.login(email, PASSWORD), 303);
    browser
}

impl Site {
    pub(super) fn start() -> Self {
        let database = Database::new();
        let http = Server::start(&database, &[]);
        let https = start_https(&database, &[]);
        let mut ada = registered(&http, "ada@example.com");
        for name in ["bob", "carol", "dave"] {
            registered(&http, &format!("{name}@example.com"));
        }
        let mut tokens = BTreeMap::new();
        let verify = db_mails(&database).into_iter().find(|mail| mail.recipient.starts_with("ada"));
        tokens
            .insert("verify_email", verify.expect("sent at registration").text("token").to_owned());
        db_clear_rate_limits(&database);
        // Frank's email was changed, and can be changed back.
        let mut frank = registered(&http, "frank@example.com");
        database
            .db_execute("UPDATE users SET email_verified_at = now() WHERE email LIKE 'frank@%'");
        expect(&frank.post("/account/email", &[("email", "frank@new.example.com")]), 303);
        let code = db_mail(&database, "change_email", 1).text("code").to_owned();
        expect(&frank.post("/account/email/code", &[("change_code", &code)]), 303);
        let undo = db_mail(&database, "email_changed", 1);
        tokens.insert("email_changed", undo.text("undo_token").to_owned());
        expect(&ada.post("/account/email", &[("email", "ada@new.example.com")]), 303);
        expect(&http.browser().post("/forgot-password", &[("email", "ada@example.com")]), 303);
        let mut registering = https.browser();
        let fields =
            [("email", "eve@example.com"), ("display_name", "Eve"), ("password", PASSWORD)];
        expect(&registering.post("/register", &fields), 303);
        let mut keep = |kind, mail: Mail| tokens.insert(kind, mail.text("token").to_owned());
        keep("change_email", db_mail(&database, "change_email", 2));
        keep("reset_password", db_mail(&database, "reset_password", 1));
        keep("verify_registration", db_mail(&database, "verify_registration", 1));
        keep("invitation", invite(&database, "grace@example.com"));
        let mail_id = database.db_texts("SELECT id::text FROM mail_outbox LIMIT 1").remove(0);
        let page = http.browser().get("/").body;
        let style_sheet = page.split('"').find(|part| part.ends_with(".css")).map(str::to_owned);
        let style_sheet = style_sheet.expect("a style sheet");
        let session_id = database.db_texts("SELECT id::text FROM sessions LIMIT 1").remove(0);
        database.db_until_idle();
        Self { database, http, https, tokens, registering, mail_id, session_id, style_sheet }
    }

    /// Everyone who opens every page. Each has a browser of their own.
    pub(super) fn visitors(&self, is_https: bool) -> Vec<Visitor> {
        let (server, database) = (if is_https { &self.https } else { &self.http }, &self.database);
        let stranger = |name, browser| Visitor { name, is_signed_in: false, browser };
        let mut gone = signed_in(server, database, "dave@example.com");
        let with_ended_session = gone.clone();
        expect(&gone.post("/logout", &[]), 303);
        let mut visitors = vec![
            stranger("a stranger", server.browser()),
            stranger("a client with the cookie of an ended session", with_ended_session),
        ];
        if is_https {
            visitors.push(stranger("someone who registers", self.registering.clone()));
            for (name, kind, path) in [
                ("someone who opened a reset link", "reset_password", "/reset-password"),
                ("someone who opened an undo link", "email_changed", "/undo-email-change"),
                ("someone who opened a link to an email", "change_email", "/verify-email"),
                ("someone who opened an invitation", "invitation", "/invitation"),
            ] {
                let mut browser = server.browser();
                expect(&browser.open(&format!("{path}/{}", self.tokens[kind])), 200);
                visitors.push(stranger(name, browser));
            }
        }
        for (name, email) in [
            ("the owner", "ada@example.com"),
            ("a user who authenticated long ago", "bob@example.com"),
            ("a user whose account is to be deleted", "carol@example.com"),
        ] {
            let browser = signed_in(server, database, email);
            visitors.push(Visitor { name, is_signed_in: true, browser });
        }
        for sql in [
            "UPDATE sessions SET authenticated_at = now() - interval '1 hour'
              WHERE user_id = (SELECT id FROM users WHERE email = 'bob@example.com')",
            "UPDATE users SET deletion_due_at = now() + interval '3 days' WHERE email = 'carol@example.com'",
        ] {
            database.db_execute(sql);
        }
        visitors
    }
}

/// The paths of a route: with a parameter, one for each kind of value.
pub(super) fn paths_of(route: &Route, site: &Site, is_https: bool) -> Vec<String> {
    let token = |kind: &str| site.tokens[kind].as_str();
    let unknown = "A".repeat(43);
    let values: Vec<&str> = match route.path.as_str() {
        path if !path.contains('{') => return vec![path.to_owned()],
        "/static/{path:.*}" => {
            vec![site.style_sheet.trim_start_matches("/static/"), "nothing.css"]
        }
        "/dev/mailbox/{id}" => vec![&site.mail_id, "not-an-id"],
        "/account/sessions/{id}/revoke" => vec![&site.session_id],
        // The link of the registration asks for the registration of its server.
        "/verify-email/{token}" if is_https => {
            vec![
                token("verify_registration"),
                token("change_email"),
                token("verify_email"),
                &unknown,
            ]
        }
        "/verify-email/{token}" => vec![token("verify_email"), token("change_email"), &unknown],
        "/reset-password/{token}" => vec![token("reset_password"), &unknown],
        "/undo-email-change/{token}" => vec![token("email_changed"), &unknown],
        "/invitation/{token}" => vec![token("invitation"), &unknown],
        path => panic!("add values for the parameter of {path}"),
    };
    let parameter = route.path.find('{').expect("a parameter");
    let end = route.path.find('}').expect("the end of the parameter");
    let (before, after) = (&route.path[..parameter], &route.path[end + 1..]);
    values.into_iter().map(|value| format!("{before}{value}{after}")).collect()
}
