//! The table of rules for mail: who may get each message, how often, and until when it is useful. Mail is
//! often caused by others: anyone can type an email into a form, and a thief of an account causes notices. So
//! each recipient has a limit per topic and one over all topics, which `enqueue.rs` enforces.
//!
//! A limit allows a burst and then one mail per interval. A notice over its limit is held back until the limit
//! allows it; further notices are combined with it. So an attacker who causes many notices delays the later
//! ones by one interval at most and suppresses none. Other mail over its limit is not sent.

use std::time::Duration;

use super::Message;
use crate::lifetimes;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a notice is worth sending: longer than the retries of `delivery.rs`, which end after two days.
const NOTICE_USEFUL_FOR: Duration = DAY.saturating_mul(3);
/// The same for a mail of the site.
const SITE_MAIL_USEFUL_FOR: Duration = DAY.saturating_mul(2);
/// The topic that counts the mail of every topic.
pub(super) const ALL_TOPICS: &str = "all";
/// The limit over all topics. Strangers who know only the email cause fewer than eleven mails an hour, so they
/// cannot use it up and keep the owner's mail away.
pub(super) const OVERALL: Limit = Limit { burst: 40, interval: MINUTE.saturating_mul(5) };
/// The topic that counts the mail of every topic to a recipient that its account has not verified.
pub(super) const UNVERIFIED_TOPIC: &str = "unverified";
/// The limit over all topics for such a recipient, who may be a stranger: at most 20 mails on the first day, then 8
/// a day. Nothing ignores it.
pub(super) const UNVERIFIED: Limit = Limit { burst: 12, interval: HOUR.saturating_mul(3) };
/// The longest time for which a notice is held back: the longest interval of such a topic.
pub const LONGEST_HOLD: Duration = HOUR;

/// How often a recipient gets mail of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// How many in succession.
    pub(super) burst: u32,
    /// After the burst, one mail in this time.
    pub(super) interval: Duration,
}

/// What happens to a message over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OverLimit {
    /// It is held back, and combined with those that follow.
    Combine,
    /// It is not sent. The link of an earlier mail stays valid.
    Drop,
}

/// What happens to a message for an email that its account has not verified. It then may belong to a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToUnverified {
    /// It is sent.
    Send,
    /// It is not sent, but counted as if it were: the user who caused it must not find out that the email has an
    /// account.
    Withhold,
    /// It is not sent.
    Refuse,
}

/// The rule of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Messages of one topic share a limit and are combined with each other.
    pub(super) topic: &'static str,
    /// The limit of the topic.
    pub(super) limit: Limit,
    /// What happens over the limit.
    pub(super) over_limit: OverLimit,
    /// What happens if the account has not verified its email.
    pub(super) to_unverified: ToUnverified,
    /// Refused by the limit of its topic only. For links with which an owner gets back into the account, so that
    /// a thief who causes notices cannot use up their limit.
    pub(super) ignores_overall: bool,
    /// How long after its insertion it is worth sending.
    pub(super) useful_for: Duration,
}

impl Rule {
    /// A mail with a link that expires after `lifetime`.
    const fn link(topic: &'static str, limit: Limit, lifetime: Duration) -> Self {
        let over_limit = OverLimit::Drop;
        let (to_unverified, ignores_overall) = (ToUnverified::Send, false);
        Self { topic, limit, over_limit, to_unverified, ignores_overall, useful_for: lifetime }
    }

    /// A mail with a link with which an owner gets back into the account.
    const fn recovery(topic: &'static str, limit: Limit) -> Self {
        let useful_for = lifetimes::RESET_LINK;
        Self { ignores_overall: true, ..Self::link(topic, limit, useful_for) }
    }

    /// A notice to a verified email.
    const fn notice(topic: &'static str, burst: u32, interval: Duration) -> Self {
        Self {
            topic,
            limit: Limit { burst, interval },
            over_limit: OverLimit::Combine,
            to_unverified: ToUnverified::Refuse,
            ignores_overall: false,
            useful_for: NOTICE_USEFUL_FOR,
        }
    }
}

/// Mail that someone causes by registering with the email of the recipient. Not stricter than the limit of
/// registrations in `user/rate_limit/limits.rs`, which sends later what is over it.
const REGISTRATION: Rule = Rule::link(
    "registration",
    Limit { burst: 15, interval: MINUTE.saturating_mul(10) },
    lifetimes::REGISTRATION,
);
/// Mail that a user causes by entering the recipient as the new email of an account. Other users can use up
/// this limit, but neither that of registrations nor that of the user's own email.
const EMAIL_CHANGE: Rule =
    Rule::link("email_change", Limit { burst: 5, interval: HOUR }, lifetimes::VERIFICATION_LINK);

impl Message {
    /// The rule of this message. A new kind of message does not compile without one.
    ///
    /// A mail that is sent in place of another, because the email already has an account, counts to the topic
    /// of the other. Otherwise the limits would reveal which emails have an account.
    pub(super) fn rule(&self) -> Rule {
        match self {
            Message::VerifyRegistration { .. } => REGISTRATION,
            Message::ChangeEmail { .. } => EMAIL_CHANGE,
            Message::AlreadyRegistered { for_email_change, .. } => Rule {
                to_unverified: ToUnverified::Withhold,
                ..if *for_email_change { EMAIL_CHANGE } else { REGISTRATION }
            },
            Message::VerifyEmail { .. } => Rule::link(
                "verification",
                Limit { burst: 10, interval: MINUTE.saturating_mul(15) },
                lifetimes::VERIFICATION_LINK,
            ),
            // Not stricter than the limit of recoveries in `user/rate_limit/limits.rs`.
            Message::ResetPassword { .. } => {
                Rule::recovery("recovery", Limit { burst: 15, interval: MINUTE.saturating_mul(15) })
            }
            // Caused by operators only.
            Message::NewPasswordRequired { .. } => Rule::recovery(
                "new_password",
                Limit { burst: 20, interval: MINUTE.saturating_mul(5) },
            ),
            // Caused by operators only.
            Message::AccountCreated { .. } => Rule::recovery(
                "account_created",
                Limit { burst: 5, interval: MINUTE.saturating_mul(15) },
            ),
            Message::Invitation { .. } => Rule::link(
                "invitation",
                Limit { burst: 10, interval: MINUTE.saturating_mul(15) },
                lifetimes::INVITATION,
            ),
            Message::NewDevice { .. } => Rule::notice("sign_in", 6, HOUR),
            Message::SignInAfterFailures { .. } => Rule::notice("sign_in_after_failures", 3, HOUR),
            // ASVS 5.0 V6.3.5. Once a day: anyone can cause it.
            Message::FailedSignIns { .. } => {
                Rule { over_limit: OverLimit::Drop, ..Rule::notice("failed_sign_ins", 1, DAY) }
            }
            Message::PasswordChanged { .. } => Rule::notice("password", 5, HOUR),
            Message::EmailChanged { .. } => Rule {
                ignores_overall: true,
                useful_for: lifetimes::UNDO_LINK,
                ..Rule::notice("email_changed", 10, HOUR)
            },
            Message::EmailConfirmed { .. } => Rule::notice("email", 5, HOUR),
            Message::DeletionScheduled { .. } => {
                Rule { useful_for: lifetimes::DELETION_GRACE, ..Rule::notice("deletion", 4, HOUR) }
            }
            Message::DeletionCanceled { .. } => Rule::notice("deletion", 4, HOUR),
            Message::AccountDisabled { .. } | Message::AccountEnabled { .. } => {
                Rule::notice("account_state", 4, HOUR)
            }
            Message::RoleChanged { .. } => Rule::notice("role", 4, HOUR),
            Message::DataExported { .. } => Rule::notice("export", 4, HOUR),
            // The recipient no longer has an account with this email: combined with nothing.
            Message::AddressRemoved => {
                Rule { over_limit: OverLimit::Drop, ..Rule::notice("email_removed", 3, HOUR) }
            }
            Message::AccountDeleted { .. } => {
                Rule { over_limit: OverLimit::Drop, ..Rule::notice("account_deleted", 3, HOUR) }
            }
            // Two different mails cannot be combined.
            Message::OfSite { .. } => Rule {
                over_limit: OverLimit::Drop,
                useful_for: SITE_MAIL_USEFUL_FOR,
                ..Rule::notice("site", 20, MINUTE.saturating_mul(15))
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::mail::samples::samples;

    #[test]
    fn every_message_has_a_rule_that_fits_its_content() {
        let mut topics: BTreeMap<&str, Limit> = BTreeMap::new();
        for message in samples("Ada") {
            let (kind, rule) = (message.kind(), message.rule());
            assert_eq!(*topics.entry(rule.topic).or_insert(rule.limit), rule.limit, "{kind}");
            assert!(
                ![ALL_TOPICS, UNVERIFIED_TOPIC].contains(&rule.topic) && rule.limit.burst > 0,
                "{kind}"
            );
            assert!(rule.limit.burst <= OVERALL.burst, "{kind}");
            assert!(rule.useful_for >= lifetimes::RESET_LINK, "{kind}");
            if rule.over_limit == OverLimit::Combine {
                assert!(rule.limit.interval <= LONGEST_HOLD, "{kind}");
                let refused = rule.to_unverified == ToUnverified::Refuse;
                assert!(refused, "{kind}: a combined mail is a notice");
            }
            if rule.to_unverified != ToUnverified::Refuse {
                assert_eq!(rule.over_limit, OverLimit::Drop, "{kind}");
            }
        }
        assert!(OVERALL.interval <= LONGEST_HOLD);
    }

    #[test]
    fn the_table_in_the_documentation_is_the_one_in_the_code() {
        let document = std::fs::read_to_string("docs/OPERATIONS.md").unwrap();
        let mut rows: Vec<String> = Vec::new();
        for message in samples("Ada") {
            let rule = message.rule();
            let row = format!(
                "| `{}` | {} | {} | {} | {} | {} | {} |",
                message.kind(),
                rule.topic,
                rule.limit.burst,
                lifetimes::words(rule.limit.interval),
                if rule.over_limit == OverLimit::Combine { "combined" } else { "not sent" },
                if rule.to_unverified == ToUnverified::Send { "yes" } else { "no" },
                lifetimes::words(rule.useful_for),
            );
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let missing = rows.iter().any(|row| !document.lines().any(|line| line == row));
        assert!(!missing, "docs/OPERATIONS.md needs these rows:\n{}", rows.join("\n"));
        let listed = document.lines().filter(|line| {
            line.ends_with(" days |") || line.ends_with(" hours |") || line.ends_with(" minutes |")
        });
        let listed = listed
            .filter(|line| line.contains(" | combined | ") || line.contains(" | not sent | "));
        assert_eq!(listed.count(), rows.len(), "docs/OPERATIONS.md has rows of other messages");
    }

    #[test]
    fn an_unverified_email_gets_well_below_forty_mails_a_day() {
        let per_day = UNVERIFIED.burst + (DAY.as_secs() / UNVERIFIED.interval.as_secs()) as u32;
        assert!(per_day <= 20, "{per_day}");
        // `purge_limits` deletes what is further ahead.
        assert!(UNVERIFIED.interval * UNVERIFIED.burst < DAY * 2);
    }

    #[test]
    fn strangers_cannot_use_up_the_limit_over_all_topics() {
        let (mut burst, mut per_hour) = (0, 0.0);
        // The topics of mail that needs nothing but the email.
        for topic in ["registration", "recovery", "failed_sign_ins"] {
            let rules = samples("Ada").into_iter().map(|message| message.rule());
            let limit = rules.into_iter().find(|rule| rule.topic == topic).unwrap().limit;
            burst += limit.burst;
            per_hour += HOUR.as_secs_f64() / limit.interval.as_secs_f64();
        }
        assert!(burst < OVERALL.burst, "{burst}");
        assert!(per_hour < HOUR.as_secs_f64() / OVERALL.interval.as_secs_f64(), "{per_hour}");
    }
}
