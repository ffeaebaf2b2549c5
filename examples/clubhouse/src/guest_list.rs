//! The list of guests that changes while it is looked at. It ends when its viewer signs out.

use frontdesk::actix_web::{HttpResponse, rt};
use frontdesk::live::{Event, event_stream};
use frontdesk::{CurrentUser, Data, Error, Path, Pool};
use futures_util::stream;
use sqlx::postgres::PgListener;
use tokio::sync::OnceCell;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::{Settings, calendar};

/// The channel on which PostgreSQL announces the event whose guests have changed.
const CHANNEL: &str = "clubhouse_guests";

/// Tells the streams of this server that the guests of an event have changed: its id, or `None` for any event.
pub struct Changes {
    sender: Sender<Option<i64>>,
    listener: OnceCell<()>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { sender: broadcast::channel(64).0, listener: OnceCell::new() }
    }
}

impl Changes {
    /// The first caller makes this server listen to PostgreSQL, with one connection for all streams.
    async fn subscribe(&self, pool: &Pool) -> Result<Receiver<Option<i64>>, Error> {
        let received = self.sender.subscribe();
        let listening = self.listener.get_or_try_init(|| async {
            let mut listener = PgListener::connect_with(pool).await?;
            listener.listen(CHANNEL).await?;
            rt::spawn(forward(listener, self.sender.clone()));
            Ok::<_, sqlx::Error>(())
        });
        listening.await?;
        Ok(received)
    }
}

/// Until the server stops, which closes the pool.
async fn forward(mut listener: PgListener, sender: Sender<Option<i64>>) {
    loop {
        match listener.try_recv().await {
            Ok(Some(message)) => {
                if let Ok(event) = message.payload().parse() {
                    sender.send(Some(event)).ok();
                }
            }
            // The connection was lost, and with it changes of any event. The listener reconnects automatically.
            Ok(None) => drop(sender.send(None)),
            Err(sqlx::Error::PoolClosed) => return,
            Err(_) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
        }
    }
}

/// The names of the guests, in the order of their sign-up.
pub async fn names(pool: &Pool, event: i64) -> sqlx::Result<Vec<String>> {
    let names = "SELECT display_name FROM guests JOIN user_profiles ON id = user_id
                 WHERE event_id = $1 ORDER BY signed_up_at, id";
    sqlx::query_scalar(names).bind(event).fetch_all(&**pool).await
}

/// One list of names at first, and another one after each change.
pub async fn stream(
    user: CurrentUser,
    pool: Pool,
    settings: Data<Settings>,
    changes: Data<Changes>,
    id: Path<i64>,
) -> Result<HttpResponse, Error> {
    calendar::find(&pool, &settings, *id).await?;
    let (changed, event) = (changes.subscribe(&pool).await?, *id);
    let lists =
        stream::unfold((changed, pool, true), move |(mut changed, pool, is_first)| async move {
            if !is_first {
                wait_for(&mut changed, event).await?;
            }
            // The browser connects again after an error of the database.
            let names = names(&pool, event).await.ok()?;
            let list = Event::new(serde_json::to_string(&names).ok()?).named("guests");
            Some((list, (changed, pool, false)))
        });
    Ok(event_stream(&user, lists))
}

/// `None` when the server stops.
async fn wait_for(changed: &mut Receiver<Option<i64>>, event: i64) -> Option<()> {
    loop {
        match changed.recv().await {
            Ok(Some(other)) if other != event => {}
            // Some changes were missed, maybe one of this event.
            Ok(_) | Err(RecvError::Lagged(_)) => return Some(()),
            Err(RecvError::Closed) => return None,
        }
    }
}
