//! An attacker in the network who sends replies in clear text before TLS begins.

use std::sync::atomic::Ordering;

use crate::mail::reset;
use crate::support::smtp::{certificates, until};
use crate::support::starttls::InjectedReplies;
use crate::support::{Database, Server};

#[test]
fn replies_that_were_sent_before_tls_do_not_count_as_said_under_tls() {
    for injected in [true, false] {
        let database = Database::new();
        let smtp = InjectedReplies::start(injected);
        let authority = certificates().join("authority.pem");
        let url = format!("smtp://localhost:{}", smtp.port);
        let settings = [
            ("FRONTDESK_SMTP_URL", url.as_str()),
            ("FRONTDESK_MAIL_FROM", "desk@example.com"),
            ("FRONTDESK_SMTP_CA_FILE", authority.to_str().unwrap()),
        ];
        let _server = Server::start(&database, &settings);
        database.db_enqueue("ada@example.com", &reset("Ada"));
        if injected {
            until("the mail is deferred", || {
                database.db_count("SELECT count(*) FROM mail_outbox WHERE last_error IS NOT NULL")
                    == 1
            });
            let kept =
                "SELECT count(*) FROM mail_outbox WHERE state = 'waiting' AND sealed IS NOT NULL";
            assert_eq!(database.db_count(kept), 1, "the mail is neither sent nor erased");
        } else {
            until("the same server without injected replies gets the mail", || {
                database.db_mails("sent") == 1
            });
        }
        assert!(smtp.upgrades.load(Ordering::SeqCst) >= 1);
    }
}
