//! The table of rate limits, with the reason for each. The numbers depend on each other, so they are not
//! settings; a site that needs stricter limits can enforce them in its proxy.
//!
//! All limits use exponential backoff: some attempts are free; after that, each attempt starts a wait, which
//! doubles up to a maximum; after a time without attempts the counter is reset. No account is locked
//! permanently: an attacker must not be able to lock users out by failing to sign in (ASVS 5.0 V6.1.1,
//! V6.3.1).

use super::action::Action;

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;

/// How often an action may be attempted by one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Attempts without a wait; the last of them starts the first wait.
    pub free: u16,
    /// The first wait, in seconds. Each further attempt doubles it.
    pub first_wait: u32,
    /// The maximum of a wait, in seconds.
    pub max_wait: u32,
    /// How long the counter is kept after the last wait, in seconds.
    pub reset_after: u32,
    /// Many people share the subject, and successes are refunded: attempts in flight count a quarter.
    pub shared: bool,
}

/// The limits of an action, by kind of subject. `None`: not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// By account, from every IP address.
    pub account: Option<Limit>,
    /// By IP address, for every account; IPv6 by /64.
    pub ip: Option<Limit>,
    /// By the pair of account and IP address.
    pub pair: Option<Limit>,
    /// By known device, instead of the three above, which apply when this limit is used up.
    pub device: Option<Limit>,
    /// By the account that receives the resulting mail. Counted when the mail is enqueued, so it never
    /// refuses a request, and others who enter the account's email do not use up the owner's attempts.
    pub mail: Option<Limit>,
}

const fn limit(free: u16, first_wait: u32, max_wait: u32, reset_after: u32) -> Option<Limit> {
    Some(Limit { free, first_wait, max_wait, reset_after, shared: false })
}

const fn shared(free: u16, first_wait: u32, max_wait: u32, reset_after: u32) -> Option<Limit> {
    Some(Limit { free, first_wait, max_wait, reset_after, shared: true })
}

impl Limits {
    /// The limits of `action`.
    pub const fn of(action: Action) -> Self {
        match action {
            Action::SignIn => Self {
                // Over all IP addresses: 20 attempts, then 8 within two hours, then 24 a day. So the 100
                // consecutive failures of NIST SP 800-63B-4, 3.2.2 are reached on the fourth day. NIST
                // recommends waits from 30 s to an hour to avoid locking the owner out.
                account: limit(20, 30, HOUR, DAY),
                // Limits password spraying (one password on many accounts). Generous, and never longer than
                // ten minutes, because a school or a mobile network shares one IP address; successes are
                // refunded, and almost 200 attempts may be in flight at the same time.
                ip: shared(50, 30, 10 * MINUTE, HOUR),
                // A user who forgot the password tries four or five (OWASP Authentication Cheat Sheet: a
                // threshold, a window, a growing duration).
                pair: limit(5, 30, HOUR, DAY),
                // OWASP "Slow Down Online Guessing Attacks with Device Cookies": its own limit, in case the
                // device is stolen.
                device: limit(10, 30, HOUR, DAY),
                mail: None,
            },
            Action::Register => Self {
                account: None,
                // High enough for a school class that signs up together; a script is limited to six accounts
                // an hour.
                ip: limit(30, 30, 10 * MINUTE, HOUR),
                pair: limit(5, MINUTE, HOUR, DAY),
                device: None,
                // Delayed mail is sent later, oldest first. Six an hour are more than one IP address can
                // cause by registering (one) and requesting another mail (two), so an attacker cannot block
                // the owner's mail.
                mail: limit(10, 30, 10 * MINUTE, DAY),
            },
            Action::Recover => Self {
                account: None,
                ip: limit(20, 30, 10 * MINUTE, HOUR),
                pair: limit(4, 30, 15 * MINUTE, DAY),
                device: limit(5, 30, 15 * MINUTE, DAY),
                // A user who requests a link during a wait has a valid one in the mailbox, even if someone
                // else requested it: the longest wait is half the lifetime of a link, and if none is valid, a
                // mail is sent despite the wait.
                mail: limit(10, 30, 15 * MINUTE, DAY),
            },
            Action::Resend => Self {
                // By the registration or the account that requests it.
                account: limit(5, 30, HOUR, DAY),
                ip: limit(20, 30, 30 * MINUTE, DAY),
                pair: None,
                device: None,
                mail: None,
            },
            Action::Verify => Self {
                // Links have 256 bits and need no limit. This one is for codes, by their registration or
                // account (a code also expires after five wrong attempts), and for the password that is
                // entered with the link of a registration, by the email that the link was sent to. The
                // password of an account is counted as a sign-in.
                account: limit(15, 30, HOUR, DAY),
                ip: shared(30, 30, 10 * MINUTE, HOUR),
                pair: None,
                device: None,
                mail: None,
            },
            // An export reads the whole audit log of a user (ASVS 5.0 V2.4.1).
            Action::Export => Self {
                account: limit(5, 5 * MINUTE, HOUR, DAY),
                ip: None,
                pair: None,
                device: None,
                mail: None,
            },
            // Limits password guessing with a stolen or unattended session. Only sessions of the account can
            // use up this limit.
            Action::Confirm => Self {
                account: limit(10, 30, HOUR, DAY),
                ip: None,
                pair: None,
                device: None,
                mail: None,
            },
        }
    }
}

impl Limits {
    /// The table as `docs/SECURITY.md` shows it.
    pub fn markdown() -> String {
        let mut text = String::from(
            "| | by | free attempts | first wait | longest wait | reset after |\n\
             |---|---|---|---|---|---|\n",
        );
        for action in Action::ALL {
            let Limits { account, ip, pair, device, mail } = Limits::of(action);
            for (by, limit) in [
                ("account and IP address (pair)", pair),
                ("account", account),
                ("IP address", ip),
                ("known device", device),
                ("email that gets the mail: delayed, no page is refused", mail),
            ] {
                let Some(Limit { free, first_wait, max_wait, reset_after, .. }) = limit else {
                    continue;
                };
                let [first, longest, reset] = [first_wait, max_wait, reset_after].map(duration);
                let action = action.description();
                text += &format!("| {action} | {by} | {free} | {first} | {longest} | {reset} |\n");
            }
        }
        text
    }
}

/// "30 s", "10 min", "1 h", "1 d".
fn duration(seconds: u32) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "min")];
    let found = units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length));
    let (length, unit) = found.unwrap_or((1, "s"));
    format!("{} {unit}", seconds / length)
}

impl Limit {
    /// The wait after attempt number `attempt`, in seconds, as the statement in `counters.rs` computes it.
    #[cfg(test)]
    fn wait(self, attempt: u32) -> u32 {
        let over = attempt.checked_sub(u32::from(self.free));
        over.map_or(0, |over| (self.first_wait << over.min(16)).min(self.max_wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_free_attempts_and_a_wait_that_ends() {
        for action in Action::ALL {
            let Limits { account, ip, pair, device, mail } = Limits::of(action);
            for limit in [account, ip, pair, device, mail].into_iter().flatten() {
                // The statement allows the first attempt without a check.
                assert!(limit.free >= 2, "{action:?}");
                assert!(0 < limit.first_wait && limit.first_wait <= limit.max_wait);
                assert!(limit.max_wait <= HOUR && limit.max_wait <= limit.reset_after);
            }
        }
    }

    #[test]
    fn an_account_allows_49_attempts_in_a_day_and_the_hundredth_on_the_fourth_day() {
        let account = Limits::of(Action::SignIn).account.unwrap();
        let (mut attempts, mut seconds, mut at_hundred) = (0, 0, 0);
        let mut in_a_day = 0;
        while attempts < 100 {
            attempts += 1;
            at_hundred = seconds;
            in_a_day += u32::from(seconds <= DAY);
            seconds += account.wait(attempts);
        }
        assert_eq!(in_a_day, 49);
        assert_eq!(at_hundred / DAY, 3, "the hundredth guess is possible on the fourth day");
    }

    #[test]
    fn recovery_waits_end_before_the_link_expires() {
        let Limits { account, ip, pair, device, mail } = Limits::of(Action::Recover);
        for limit in [account, ip, pair, device, mail].into_iter().flatten() {
            assert!(limit.max_wait < 30 * MINUTE);
        }
    }

    #[test]
    fn other_clients_cannot_use_up_the_registration_or_recovery_limit_of_an_account() {
        for action in [Action::Register, Action::Recover] {
            let limits = Limits::of(action);
            assert!(limits.account.is_none() && limits.mail.is_some(), "{action:?}");
        }
    }
}
