//! The messages of one notification connection: heartbeats, changes, and questions from servers that wait for an
//! invalidation.
//!
//! Any login of the database can send any message on our channel. So a message can make this server forget entries, but
//! nothing else follows from it:
//!
//! * A heartbeat counts if it carries the random number that this server put into it, which nobody can know before it
//!   was committed. A replayed one is ignored.
//! * A question (`ask:n`) is only a hint. How far the questions have come is read from the sequence, and the answer
//!   follows a notification that this server sent to itself after it had read that (`barrier.rs`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::postgres::PgListener;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use super::SessionCache;
use super::barrier::{self, LEASE};
use super::clock::MonotonicInstant;

/// How often a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A statement that takes longer ends the connection.
const SEND_DEADLINE: Duration = Duration::from_millis(1500);

/// A notification that this server sent to itself and that has not come back yet.
struct Echo {
    /// Counts what was sent on this connection.
    number: u64,
    /// For a heartbeat: when it was sent.
    heartbeat: Option<MonotonicInstant>,
    /// The last question that had been drawn before this was sent.
    asked: i64,
}

/// What is going on over one connection.
pub(in crate::session) struct MessageLoop<'f> {
    /// This server, as heartbeats name it.
    id: Uuid,
    cache: &'f SessionCache,
    /// Counts notifications.
    heard: &'f AtomicU64,
    listener: PgListener,
    channel: String,
    /// By the random number in the message.
    echoes: HashMap<Uuid, Echo>,
    sent: u64,
    /// `session_cache_resets.resets` as of the last "forget everything"; `None` before the first heartbeat.
    resets: Option<i64>,
    /// The question that was answered last.
    answered: i64,
    /// A question was heard, and no probe was sent since.
    is_asked: bool,
    last_back: Instant,
    was_trusted: bool,
}

enum Message {
    Echo(Uuid),
    Ask(i64),
    Sessions(Vec<u16>),
    Users(Vec<u16>),
    All,
}

impl<'f> MessageLoop<'f> {
    /// Over `listener`, which listens on `channel`. Everything has been forgotten since it began to.
    pub(in crate::session) fn new(
        id: Uuid,
        cache: &'f SessionCache,
        heard: &'f AtomicU64,
        listener: PgListener,
        channel: String,
    ) -> Self {
        Self {
            id,
            cache,
            heard,
            listener,
            channel,
            echoes: HashMap::new(),
            sent: 0,
            resets: None,
            answered: 0,
            is_asked: false,
            last_back: Instant::now(),
            was_trusted: false,
        }
    }

    /// Until the connection is of no more use; answers why.
    pub(in crate::session) async fn run(mut self) -> anyhow::Error {
        match self.go_on().await {
            Err(why) => why,
            Ok(never) => match never {},
        }
    }

    async fn go_on(&mut self) -> anyhow::Result<Infallible> {
        let mut tick = interval(HEARTBEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                biased;
                _ = tick.tick() => None,
                heard = self.listener.try_recv() => Some(heard?.context("the connection ended")?),
            };
            let Some(first) = heard else {
                if self.last_back.elapsed() >= LEASE {
                    bail!(
                        "notifications do not come back (a pooler in transaction mode, or a stalled link?)"
                    );
                }
                self.send_heartbeat().await?;
                continue;
            };
            // Everything that is here already, so that one answer serves many questions.
            let mut back = None;
            let mut next = Some(first);
            while let Some(notification) = next {
                self.heard.fetch_add(1, Ordering::Relaxed);
                if let Some(message) = self.read(notification.payload()) {
                    back = self.handle(message).or(back);
                }
                next = self.listener.next_buffered();
            }
            if let Some(asked) = back.filter(|asked| *asked != self.answered) {
                self.answer(asked).await?;
            }
            if self.is_asked {
                self.send_probe().await?;
            }
        }
    }

    /// Parses a notification. `None`: another server's heartbeat, or the greeting of a new connection. Anything unreadable
    /// means "forget everything", because a newer version may send messages that this one does not know.
    fn read(&self, text: &str) -> Option<Message> {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        let stripes = || -> Option<Vec<u16>> {
            rest.split(',').map(|stripe| u16::from_str_radix(stripe, 16).ok()).collect()
        };
        match word {
            "beat" => {
                let nonce = rest.strip_prefix(&self.id.to_string())?.strip_prefix(':')?;
                nonce.parse().ok().map(Message::Echo)
            }
            "hello" => None,
            "ask" => Some(rest.parse().map_or(Message::All, Message::Ask)),
            "sessions" => Some(stripes().map_or(Message::All, Message::Sessions)),
            "users" => Some(stripes().map_or(Message::All, Message::Users)),
            _ => Some(Message::All),
        }
    }

    /// Does what a message says. For an echo answers the last question that had been drawn before it was sent.
    fn handle(&mut self, message: Message) -> Option<i64> {
        let cache = self.cache;
        match message {
            Message::Echo(nonce) => return self.hear_echo(nonce),
            Message::Ask(number) => self.is_asked |= number != self.answered,
            Message::Sessions(stripes) => {
                stripes.into_iter().for_each(|stripe| cache.invalidate_session(stripe));
            }
            Message::Users(stripes) => {
                stripes.into_iter().for_each(|stripe| cache.invalidate_user(stripe));
            }
            Message::All => cache.invalidate_all(),
        }
        None
    }

    fn hear_echo(&mut self, nonce: Uuid) -> Option<i64> {
        let echo = self.echoes.remove(&nonce)?;
        self.echoes.retain(|_, other| other.number > echo.number);
        if let Some(sent) = echo.heartbeat {
            self.last_back = Instant::now();
            self.cache.set_live_until((sent + LEASE).0);
            if !self.was_trusted {
                self.was_trusted = true;
                tracing::info!("sessions are served from memory");
            }
        }
        Some(echo.asked)
    }

    /// Renews the lease once it comes back, and reads how much was changed without a notification.
    async fn send_heartbeat(&mut self) -> anyhow::Result<()> {
        let (nonce, sent) = (Uuid::new_v4(), MonotonicInstant::now());
        let heartbeat =
            barrier::heartbeat(&mut self.listener, &self.channel, self.id, nonce, LEASE);
        let heartbeat = timeout(SEND_DEADLINE, heartbeat)
            .await
            .context("PostgreSQL did not take a heartbeat in time")??;
        if self.resets != Some(heartbeat.resets) {
            self.cache.invalidate_all();
            self.resets = Some(heartbeat.resets);
        }
        self.expect(nonce, Some(sent), heartbeat.asked);
        Ok(())
    }

    /// Reads how far the questions have come, and notifies itself: once that comes back, everything that was committed
    /// before those questions has been processed here.
    async fn send_probe(&mut self) -> anyhow::Result<()> {
        self.is_asked = false;
        let nonce = Uuid::new_v4();
        let probe = barrier::probe(&mut self.listener, &self.channel, self.id, nonce);
        let asked = timeout(SEND_DEADLINE, probe)
            .await
            .context("PostgreSQL did not take a notification in time")??;
        self.expect(nonce, None, asked);
        Ok(())
    }

    /// Notes a notification that was sent; it is read only after this.
    fn expect(&mut self, nonce: Uuid, heartbeat: Option<MonotonicInstant>, asked: i64) {
        self.sent += 1;
        self.echoes.insert(nonce, Echo { number: self.sent, heartbeat, asked });
    }

    async fn answer(&mut self, asked: i64) -> anyhow::Result<()> {
        let answer = barrier::answer(&mut self.listener, self.id, asked, self.resets);
        let is_taken = timeout(SEND_DEADLINE, answer)
            .await
            .context("PostgreSQL did not take an answer in time")??;
        if is_taken {
            self.answered = asked;
            return Ok(());
        }
        // Something changed without a notification: the heartbeat sees it, and its echo answers.
        self.send_heartbeat().await
    }
}
