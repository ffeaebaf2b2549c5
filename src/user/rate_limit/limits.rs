//! THE table of rate limits, with the reason for each. The numbers depend on each other, so they are not
//! settings; a site that needs other limits puts a proxy in front.
//!
//! All limits have the same shape: some attempts are free; then each attempt makes the next one wait, twice
//! as long as the one before, up to a maximum; after a time without attempts the counter starts again. No
//! account is locked for good: an attacker must not be able to lock users out by failing to sign in (ASVS 5.0
//! V6.1.1, V6.3.1).

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
    pub longest_wait: u32,
    /// How long the counter is kept after the last wait, in seconds.
    pub memory: u32,
}

/// The limits of an action, by what it is counted. `None`: not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// By account, from every IP address.
    pub account: Option<Limit>,
    /// By IP address, for every account; IPv6 by /64.
    pub ip: Option<Limit>,
    /// By the pair of account and IP address.
    pub pair: Option<Limit>,
    /// By known device, instead of the three above, which count when this limit is used up.
    pub device: Option<Limit>,
    /// By the account that is mailed an answer: counted when the mail is written; no page is refused by it.
    /// Someone else who enters the email of the account does not use up the owner's attempts.
    pub mail: Option<Limit>,
}

const fn limit(free: u16, first_wait: u32, longest_wait: u32, memory: u32) -> Option<Limit> {
    Some(Limit { free, first_wait, longest_wait, memory })
}

impl Limits {
    /// The limits of `action`.
    pub const fn of(action: Action) -> Self {
        match action {
            Action::SignIn => Self {
                // Over all IP addresses: 20 attempts, then 8 within two hours, then 24 a day. So the 100
                // consecutive failures of NIST SP 800-63B-4, 3.2.2 take until the fourth day. It names waits
                // from 30 s to an hour as a way not to lock the owner out.
                account: limit(20, 30, HOUR, DAY),
                // Limits trying one password at many accounts. Generous, and never longer than ten minutes,
                // because a school or a mobile network shares one IP address; successes are given back.
                ip: limit(50, 30, 10 * MINUTE, HOUR),
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
                // A class that signs up together is not limited; a script that creates accounts gets six an
                // hour.
                ip: limit(30, 30, 10 * MINUTE, HOUR),
                pair: limit(5, MINUTE, HOUR, DAY),
                device: None,
                // A mail that waits is sent later, the oldest first. Six an hour are more than one IP address
                // can request by registering (one) and by requesting another mail (two), so it cannot hold
                // back the owner's mail.
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
                ip: limit(30, 30, 10 * MINUTE, HOUR),
                pair: None,
                device: None,
                mail: None,
            },
            // The one page that is as long as the audit log (ASVS 5.0 V2.4.1).
            Action::Export => Self {
                account: limit(5, 5 * MINUTE, HOUR, DAY),
                ip: None,
                pair: None,
                device: None,
                mail: None,
            },
            // The session may be stolen or left open. Only sessions of the account can use this limit up.
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

impl Limit {
    /// The wait after attempt number `attempt`, in seconds, as the statement in `counters.rs` computes it.
    #[cfg(test)]
    fn wait(self, attempt: u32) -> u32 {
        let over = attempt.checked_sub(u32::from(self.free));
        over.map_or(0, |over| (self.first_wait << over.min(16)).min(self.longest_wait))
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
                assert!(0 < limit.first_wait && limit.first_wait <= limit.longest_wait);
                assert!(limit.longest_wait <= HOUR && limit.longest_wait <= limit.memory);
            }
        }
    }

    #[test]
    fn an_account_allows_49_guesses_in_a_day_and_the_hundredth_on_the_fourth() {
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
            assert!(limit.longest_wait < 30 * MINUTE);
        }
    }

    #[test]
    fn others_cannot_use_up_the_registration_or_recovery_of_an_account() {
        for action in [Action::Register, Action::Recover] {
            let limits = Limits::of(action);
            assert!(limits.account.is_none() && limits.mail.is_some(), "{action:?}");
        }
    }
}
