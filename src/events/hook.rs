//! The functions that a site registers, and what they return.

use std::future::Future;
use std::pin::Pin;

use sqlx::PgConnection;

use super::mailer::Mailer;

/// An error of a site's hook, handler, job or command.
///
/// ```
/// use frontdesk::BoxError;
///
/// fn parse(text: &str) -> Result<u32, BoxError> {
///     match text.parse()? {
///         0 => Err("there is no note 0".into()),
///         number => Ok(number),
///     }
/// }
///
/// assert_eq!(parse("0").unwrap_err().to_string(), "there is no note 0");
/// assert!(parse("x").is_err());
/// ```
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a hook returns. The operator `?` turns every error type into its error.
///
/// ```
/// use frontdesk::events::Export;
/// use frontdesk::sqlx::{self, PgConnection};
/// use frontdesk::HookResult;
/// use serde_json::{Value, json};
///
/// async fn notes(event: Export, connection: &mut PgConnection) -> HookResult<Value> {
///     let select = sqlx::query_scalar("SELECT body FROM notes WHERE owner_id = $1");
///     let notes: Vec<String> = select.bind(event.user).fetch_all(connection).await?;
///     Ok(json!(notes))
/// }
/// ```
pub type HookResult<T = ()> = Result<T, BoxError>;
/// A running hook.
pub type HookFuture<'c, T> = Pin<Box<dyn Future<Output = HookResult<T>> + Send + 'c>>;

/// A plain `async fn(event: E, connection: &mut PgConnection) -> HookResult<T>`, or one that takes a [`Mailer`] too. It is
/// implemented for all of them. The compiler finds `A`, which says whether there is a mailer.
///
/// ```
/// use frontdesk::events::{Registered, SignedIn};
/// use frontdesk::sqlx::PgConnection;
/// use frontdesk::{HookResult, Mailer, Website};
///
/// async fn count(_: SignedIn, connection: &mut PgConnection) -> HookResult {
///     sqlx::query("UPDATE statistics SET sign_ins = sign_ins + 1").execute(connection).await?;
///     Ok(())
/// }
///
/// async fn welcome(event: Registered, connection: &mut PgConnection, mailer: Mailer) -> HookResult {
///     mailer.enqueue(connection, event.user, "welcome", &serde_json::json!({})).await?;
///     Ok(())
/// }
///
/// let website = Website::new(frontdesk::Embedded::none());
/// let website = website.after_sign_in(count).on_registered(welcome);
/// ```
// A bound `for<'c> Fn(E, &'c mut PgConnection) -> R` cannot say that `R` borrows the connection.
pub trait Hook<'c, E, T, A>: Send + Sync {
    /// Calls the function.
    #[doc(hidden)]
    fn call(
        &self,
        event: E,
        connection: &'c mut PgConnection,
        mailer: &Mailer,
    ) -> HookFuture<'c, T>;
}

/// A hook that takes no [`Mailer`].
#[derive(Debug)]
pub enum WithoutMailer {}

/// A hook that takes a [`Mailer`].
#[derive(Debug)]
pub enum WithMailer {}

impl<'c, E, T, F, R> Hook<'c, E, T, WithMailer> for F
where
    F: Fn(E, &'c mut PgConnection, Mailer) -> R + Send + Sync,
    R: Future<Output = HookResult<T>> + Send + 'c,
{
    fn call(
        &self,
        event: E,
        connection: &'c mut PgConnection,
        mailer: &Mailer,
    ) -> HookFuture<'c, T> {
        Box::pin(self(event, connection, mailer.clone()))
    }
}

impl<'c, E, T, F, R> Hook<'c, E, T, WithoutMailer> for F
where
    F: Fn(E, &'c mut PgConnection) -> R + Send + Sync,
    R: Future<Output = HookResult<T>> + Send + 'c,
{
    fn call(&self, event: E, connection: &'c mut PgConnection, _: &Mailer) -> HookFuture<'c, T> {
        Box::pin(self(event, connection))
    }
}
