//! THE table of how often something may be tried, and why. Every number of the throttle stands here and in no setting:
//! they hold together, and a site that needs others is better served by a proxy in front.
//!
//! The shape is the same everywhere: some tries are free; then each makes the next one wait, twice as long as the one
//! before, up to a limit; after a time without tries all is forgotten. Nobody is ever locked out for good: a stranger
//! must not be able to take an account from its owner by typing nonsense (ASVS 5.0 V6.1.1, V6.3.1).

use super::action::Action;

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;

/// How often something may be tried by one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Tries without a wait; the last of them begins the first wait.
    pub free: u16,
    /// Seconds of the first wait; each further try doubles it,
    pub first_wait: u32,
    /// up to so many seconds.
    pub longest_wait: u32,
    /// Seconds after the last wait until it is as if nothing had been tried.
    pub memory: u32,
}

/// By what an action is counted; what is `None` is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Whoever tries it, from wherever.
    pub account: Option<Limit>,
    /// Whatever account it is about; IPv6 by /64.
    pub address: Option<Limit>,
    /// This account from this address.
    pub pair: Option<Limit>,
    /// From a browser that has signed in to the account before, each by itself: instead of all of the above, which count
    /// when this is used up.
    pub device: Option<Limit>,
    /// Mails that answer it, by the account they go to: counted when one is written, and no page is refused by it. A
    /// stranger who types somebody's address uses up no try of theirs.
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
                // The sum over all strangers in the world: 20, then 8 within two hours, then 24 a day. So the 100
                // consecutive failures of NIST SP 800-63B-4, 3.2.2 take until the fourth day; waits from 30 s to an hour
                // are what it names for keeping the owner in meanwhile.
                account: limit(20, 30, HOUR, DAY),
                // One password against many accounts. Generous, and never longer than ten minutes, because a school or
                // a mobile network is one address too; successes are given back.
                address: limit(50, 30, 10 * MINUTE, HOUR),
                // A person who forgot tries four or five (OWASP Authentication Cheat Sheet: a threshold, a window, a
                // growing duration).
                pair: limit(5, 30, HOUR, DAY),
                // OWASP "Slow Down Online Guessing Attacks with Device Cookies": a limit of its own, in case the device
                // is stolen.
                device: limit(10, 30, HOUR, DAY),
                mail: None,
            },
            Action::Register => Self {
                account: None,
                // A class that signs up together; then a machine that makes accounts, at six an hour.
                address: limit(30, 30, 10 * MINUTE, HOUR),
                pair: limit(5, MINUTE, HOUR, DAY),
                device: None,
                // What may not go now goes later, the oldest first: six an hour are more than one address can ask for
                // by registering (one) and by asking again (two), so it can not keep the owner's from going.
                mail: limit(10, 30, 10 * MINUTE, DAY),
            },
            Action::Recover => Self {
                account: None,
                address: limit(20, 30, 10 * MINUTE, HOUR),
                pair: limit(4, 30, 15 * MINUTE, DAY),
                device: limit(5, 30, 15 * MINUTE, DAY),
                // Whoever asks during a wait has a link in the mailbox that works, whoever had it sent: the longest wait
                // is half as long as a link lives, and where none lives a mail goes all the same.
                mail: limit(10, 30, 15 * MINUTE, DAY),
            },
            Action::Resend => Self {
                // By the registration or the account that asks.
                account: limit(5, 30, HOUR, DAY),
                address: limit(20, 30, 30 * MINUTE, DAY),
                pair: None,
                device: None,
                mail: None,
            },
            Action::Verify => Self {
                // Links have 256 bits; this is for codes, each of which dies after five wrong tries, by the registration
                // or account whose they are, and for the password asked beside the link of a registration, by the
                // address that the link was sent to. That of an account is counted as a sign-in.
                account: limit(15, 30, HOUR, DAY),
                address: limit(30, 30, 10 * MINUTE, HOUR),
                pair: None,
                device: None,
                mail: None,
            },
            // The one page that is as long as the trail (ASVS 5.0 V2.4.1); nobody needs a sixth copy at once.
            Action::Export => Self {
                account: limit(5, 5 * MINUTE, HOUR, DAY),
                address: None,
                pair: None,
                device: None,
                mail: None,
            },
            // Somebody is signed in: a session left open, or stolen. Only sessions of that account can use this up.
            Action::Confirm => Self {
                account: limit(10, 30, HOUR, DAY),
                address: None,
                pair: None,
                device: None,
                mail: None,
            },
        }
    }
}

impl Limit {
    /// Seconds that the try number `tries` makes the next one wait. The statement in `super` counts the same way.
    #[cfg(test)]
    fn wait(self, tries: u32) -> u32 {
        let over = tries.checked_sub(u32::from(self.free));
        over.map_or(0, |over| (self.first_wait << over.min(16)).min(self.longest_wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_counted_has_free_tries_and_a_wait_that_ends() {
        for action in Action::ALL {
            let Limits { account, address, pair, device, mail } = Limits::of(action);
            for limit in [account, address, pair, device, mail].into_iter().flatten() {
                // The statement gives the first try of all without asking.
                assert!(limit.free >= 2, "{action:?}");
                assert!(0 < limit.first_wait && limit.first_wait <= limit.longest_wait);
                assert!(limit.longest_wait <= HOUR && limit.longest_wait <= limit.memory);
            }
        }
    }

    #[test]
    fn strangers_get_49_tries_at_an_account_in_a_day_and_a_hundred_take_four_days() {
        let account = Limits::of(Action::SignIn).account.unwrap();
        let (mut tries, mut seconds, mut at_hundred) = (0, 0, 0);
        let mut in_a_day = 0;
        while tries < 100 {
            tries += 1;
            at_hundred = seconds;
            in_a_day += u32::from(seconds <= DAY);
            seconds += account.wait(tries);
        }
        assert_eq!(in_a_day, 49);
        assert_eq!(at_hundred / DAY, 3, "the hundredth comes on the fourth day");
    }

    #[test]
    fn recovery_never_waits_longer_than_its_link_lives() {
        let Limits { account, address, pair, device, mail } = Limits::of(Action::Recover);
        for limit in [account, address, pair, device, mail].into_iter().flatten() {
            assert!(limit.longest_wait < 30 * MINUTE);
        }
    }

    #[test]
    fn no_stranger_uses_up_a_registration_or_a_recovery_of_somebody_else() {
        for action in [Action::Register, Action::Recover] {
            let limits = Limits::of(action);
            assert!(limits.account.is_none() && limits.mail.is_some(), "{action:?}");
        }
    }
}
