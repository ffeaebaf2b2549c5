//! What the refusal of a mail server means for the mail and for its recipient. The reply code alone does not say
//! it: servers answer 5xx to a full mailbox and to a sender who is too fast, and both pass. So the enhanced status
//! code (RFC 3463) and the words of the reply count too. In doubt a mail is retried: a retry costs little, and a
//! mail that was given up is lost to its user.

/// How severe a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It passes, or it is about this site and not about the mail: try again.
    Transient,
    /// The mail will not be accepted.
    Permanent,
    /// The mailbox does not exist: no mail to this recipient will be accepted.
    Bounced,
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The recipient (RCPT).
    Recipient,
    /// The mail (DATA).
    Content,
}

/// Enhanced codes without their class that say that the mailbox does not exist: bad mailbox, bad domain, bad
/// syntax, moved, disabled, no mail for this domain (RFC 7505). 1.0 is not among them: it may be about the sender.
const NO_MAILBOX: [(u16, u16); 6] = [(1, 1), (1, 2), (1, 3), (1, 6), (1, 10), (2, 1)];
/// Those about the email of the sender: bad syntax, and a domain that does not exist.
const SENDER: [(u16, u16); 2] = [(1, 7), (1, 8)];
/// Those that pass, whatever class the server gives them: mailbox full, mail system full, not accepting mail,
/// congested, and Gmail's limit of mail from one IP address.
const PASSING: [(u16, u16); 5] = [(2, 2), (3, 1), (3, 2), (4, 5), (7, 28)];
/// Those that say that the mail is too large. Their words may be those of a limit.
const TOO_LARGE: [(u16, u16); 2] = [(2, 3), (3, 4)];
/// "Exceeded storage allocation" (RFC 5321, 4.2.2). Before the mail is read, its size cannot be meant.
const STORAGE_EXCEEDED: u16 = 552;
/// Parts of words about a mailbox or a disk that is full, and about what is temporary, in lower case. They count
/// more than any enhanced code: some servers say 5.1.1 or 5.2.1 about a full mailbox, and 5.3.4 about a quota.
const FULL_WORDS: [&str; 10] = [
    "quota",
    "storage",
    "mailbox full",
    "mailbox is full",
    "inbox is full",
    "disk full",
    "disk is full",
    "disk space",
    "out of space",
    "temporar",
];
/// The subject of policy and security.
const POLICY: u16 = 7;
/// Words about quotas, rates and the reputation of the sender, in lower case. They begin a word.
const PASSING_WORDS: [&str; 31] = [
    "rate",
    "rates",
    "ratelimit",
    "too many",
    "too fast",
    "too quickly",
    "too much mail",
    "greylist",
    "graylist",
    "throttl",
    "try again",
    "later",
    "exceeded",
    "hourly",
    "daily",
    "per second",
    "per minute",
    "per hour",
    "per day",
    "sending limit",
    "limit reached",
    "have sent more than",
    "has sent more than",
    "unusual amount",
    "unusual volume",
    "reputation",
    "your ip",
    "is full",
    "blocked using",
    "blacklist",
    "blocklist",
];
/// Words about the sender, in lower case: the mailbox that does not exist is that of this site.
const SENDER_WORDS: [&str; 2] = ["sender", "verification failed"];
/// Words that say that the mailbox does not exist, in lower case.
const NO_MAILBOX_WORDS: [&str; 13] = [
    "user unknown",
    "unknown user",
    "unknown recipient",
    "recipient unknown",
    "unknown mailbox",
    "mailbox unknown",
    "no such user",
    "no such mailbox",
    "no such recipient",
    "no such address",
    "does not exist",
    "doesn't exist",
    "mailbox not found",
];

impl Severity {
    /// Reads a reply: its code, and its text with the enhanced status code if there is one.
    pub fn of(refused: Refused, code: u16, text: &str) -> Self {
        if code < 500 {
            return Severity::Transient;
        }
        // An email in the reply is not a word of the server.
        let words = text.split_whitespace().filter(|word| !word.contains('@'));
        let text = words.collect::<Vec<_>>().join(" ").to_lowercase();
        let (class, detail) = enhanced_code(&text).unzip();
        let is_one_of = |codes: &[(u16, u16)]| detail.is_some_and(|detail| codes.contains(&detail));
        // A reply that contradicts itself, such as 550 4.7.1, means the more specific part.
        let is_full = FULL_WORDS.iter().any(|words| text.contains(words));
        if class == Some(4) || is_one_of(&PASSING) || is_full {
            return Severity::Transient;
        }
        if is_one_of(&TOO_LARGE) {
            return Severity::Permanent;
        }
        // Gmail says with 5.2.1 that a recipient receives mail too quickly.
        if contains_any(&text, &PASSING_WORDS) && !is_one_of(&[(1, 1)]) {
            return Severity::Transient;
        }
        if is_one_of(&SENDER) || contains_any(&text, &SENDER_WORDS) {
            return Severity::Transient;
        }
        if is_one_of(&NO_MAILBOX) || contains_any(&text, &NO_MAILBOX_WORDS) {
            return Severity::Bounced;
        }
        if refused == Refused::Recipient && code == STORAGE_EXCEEDED && detail.is_none() {
            return Severity::Transient;
        }
        // Before the mail is read, a policy can only be about the site: its IP address, its domain, its rate.
        let is_policy = detail.is_some_and(|(subject, _)| subject == POLICY)
            || contains_any(&text, &["policy"]);
        if refused == Refused::Recipient && is_policy {
            return Severity::Transient;
        }
        Severity::Permanent
    }
}

/// Class, and subject with detail, of the first enhanced status code in `text`: `5.7.1` is (5, (7, 1)).
fn enhanced_code(text: &str) -> Option<(u16, (u16, u16))> {
    text.split(|character: char| !character.is_ascii_digit() && character != '.').find_map(|word| {
        let parts: Vec<&str> = word.trim_end_matches('.').split('.').collect();
        let number = |part: &str| (part.len() <= 3).then(|| part.parse::<u16>().ok()).flatten();
        match parts[..] {
            ["4" | "5", subject, detail] => {
                Some((number(parts[0])?, (number(subject)?, number(detail)?)))
            }
            _ => None,
        }
    })
}

/// Whether one of `words` begins a word of `text`, or is a whole word of it if it has at most five letters.
fn contains_any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        text.match_indices(word).any(|(at, _)| {
            let is_letter = |next: Option<char>| next.is_some_and(char::is_alphanumeric);
            let begins = !is_letter(text[..at].chars().next_back());
            let ends = word.len() > 5 || !is_letter(text[at + word.len()..].chars().next());
            begins && ends
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_about_quota_rate_and_policy_are_retried() {
        for (code, text) in [
            (451, "4.7.1 Greylisted"),
            (550, "4.7.1 come back"),
            (550, "4.2.2 the mailbox has no space"),
            (552, "5.2.2 over the limit"),
            (552, "The recipient's mailbox is over quota"),
            (552, "Quota exceeded (mailbox for user is full)"),
            (550, "5.7.1 Our system has detected an unusual rate of mail"),
            (550, "5.7.1 rate-limited"),
            (550, "Ratelimit reached"),
            (554, "Too many messages from 192.0.2.1"),
            (550, "5.2.1 The user is receiving mail at a rate that prevents additional messages"),
            (554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using a list"),
            (550, "5.7.26 This mail is unauthenticated"),
            (554, "Recipient address is greylisted"),
            (550, "Requested action not taken, please try again"),
            (550, "<ada@example.com>: mailbox is full"),
            (550, "5.3.2 system not accepting network messages"),
            (550, "5.7.1 You have exceeded your hourly sending limit"),
            (550, "The hourly limit of the domain has been exceeded"),
            (550, "Daily message limit for this account"),
            (550, "5.1.1 The email account that you tried to reach is over quota"),
            (550, "5.1.1 recipient temporarily disabled, quota"),
            (550, "5.2.1 mailbox over its storage allocation"),
            (550, "Overquota"),
            (550, "5.1.1 user_quota_exceeded"),
            (552, "Insufficient system storage"),
            (552, "5.3.4 over quota"),
            (554, "5.7.1 Messages per hour limit"),
            (550, "5.7.1 You have sent more than 100 messages"),
            (550, "5.7.28 unusual amount of unsolicited mail from your IP"),
            (550, "5.7.28 mail from your network has been limited"),
            (550, "5.7.1 blocked due to the very low reputation of the sending IP"),
            (554, "5.7.1 192.0.2.1 is on our blocklist"),
            (550, "Message refused by policy"),
        ] {
            for refused in [Refused::Recipient, Refused::Content] {
                // After the mail was read, a policy without a word about a rate may be about its content.
                let may_be_content = text.contains("unauthenticated") || text.contains("by policy");
                if refused == Refused::Content && may_be_content {
                    continue;
                }
                assert_eq!(Severity::of(refused, code, text), Severity::Transient, "{code} {text}");
            }
        }
    }

    #[test]
    fn a_bare_552_before_the_mail_is_read_is_about_a_full_mailbox() {
        for text in ["", "Requested action aborted", "ada@example.com"] {
            assert_eq!(Severity::of(Refused::Recipient, 552, text), Severity::Transient, "{text}");
        }
        let unknown = Severity::of(Refused::Recipient, 552, "no such user");
        assert_eq!(unknown, Severity::Bounced);
    }

    #[test]
    fn replies_about_a_mailbox_that_does_not_exist_are_bounces() {
        for text in [
            "5.1.1 <ada@example.com> is unknown here",
            "5.1.1 The email account does not exist. Try double-checking for typos, or try again",
            "5.1.2 bad destination domain",
            "5.1.10 null MX",
            "5.2.1 mailbox disabled",
            "5.7.1 User unknown",
            "<ada@example.com>: Recipient address rejected: User unknown in local recipient table",
            "No such user here",
            "<rate@quota.example> does not exist",
            "sorry, this mailbox doesn't exist",
        ] {
            for refused in [Refused::Recipient, Refused::Content] {
                assert_eq!(Severity::of(refused, 550, text), Severity::Bounced, "{text}");
            }
        }
    }

    #[test]
    fn replies_about_the_sender_say_nothing_about_the_recipient() {
        for (code, text) in [
            (553, "5.1.8 Domain of sender address noreply@desk.example does not exist"),
            (553, "5.1.8 Domain of noreply@desk.example does not exist"),
            (550, "5.1.7 no such address <noreply@desk.example>"),
            (550, "5.1.0 <noreply@desk.example>: Sender address rejected: User unknown"),
            (550, "5.1.1 <noreply@desk.example>: Sender address rejected: undeliverable"),
            (550, "Verification failed for <noreply@desk.example> No Such User Here"),
            (550, "No Such User Here Sender verify failed"),
        ] {
            for refused in [Refused::Recipient, Refused::Content] {
                assert_eq!(Severity::of(refused, code, text), Severity::Transient, "{code} {text}");
            }
        }
    }

    #[test]
    fn other_replies_are_final_for_the_mail_and_say_nothing_about_the_recipient() {
        for (refused, code, text) in [
            (Refused::Content, 554, "5.7.1 we do not like http://example.com/…"),
            (Refused::Content, 552, "5.3.4 message size limit exceeded"),
            (Refused::Content, 554, "5.6.0 cannot be parsed"),
            (Refused::Recipient, 550, "mailbox unavailable"),
            (Refused::Recipient, 550, "5.5.0 corporate separated desks"),
            (Refused::Recipient, 550, "5.1.0 address rejected"),
            (Refused::Recipient, 553, ""),
            (Refused::Content, 552, ""),
            (Refused::Content, 552, "message too large"),
            (Refused::Content, 550, "Message refused by policy"),
        ] {
            assert_eq!(Severity::of(refused, code, text), Severity::Permanent, "{code} {text}");
        }
    }

    #[test]
    fn numbers_that_are_not_enhanced_codes_are_not_read_as_one() {
        for (text, code) in [
            ("5.1.1 unknown", Some((5, (1, 1)))),
            ("<ada@example.com>: 4.7.0. later", Some((4, (7, 0)))),
            ("host 5.1.1.7 refused", None),
            ("2.1.5 ok", None),
            ("5.1.1234", None),
            ("version 5..1", None),
            ("", None),
        ] {
            assert_eq!(enhanced_code(text), code, "{text}");
        }
    }
}
