//! Mail.

use super::findings::{Findings, Verdict};
use crate::cli::out::sentence;
use crate::config::Config;
use crate::mail::Transport;

/// Whether mail can be sent, without sending any.
pub(super) async fn check(config: &Config, findings: &mut Findings) {
    let transport = match Transport::new(&config.mail, config.public_url.host()) {
        Ok(transport) => transport,
        Err(error) => return findings.add(Verdict::Problem, "mail", sentence(&error)),
    };
    if let Some(folder) = transport.missing_folder() {
        let message = format!("Written to {}, which the server will create.", folder.display());
        return findings.add(Verdict::Ok, "mail", message);
    }
    match transport.probe().await {
        Ok(_) if matches!(transport, Transport::OutboxOnly) && config.public_url.is_loopback() => {
            findings.add(
                Verdict::Ok,
                "mail",
                "Kept in the database and shown at /dev/mailbox. Set FRONTDESK_SMTP_URL before going live.",
            );
        }
        Ok(_) if matches!(transport, Transport::OutboxOnly) => findings.add(
            Verdict::Warning,
            "mail",
            "No mail is sent, so users cannot reset their passwords. Set FRONTDESK_SMTP_URL and FRONTDESK_MAIL_FROM.",
        ),
        Ok(description) => findings.add(Verdict::Ok, "mail", description),
        Err(error) => findings.add(Verdict::Problem, "mail", sentence(&error)),
    }
}
