//! The functions that a site registers, and what they return.

use std::future::Future;
use std::pin::Pin;

use sqlx::PgConnection;

use super::mailer::Mailer;

/// An error of a site's hook, handler, job or command.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a hook returns. The operator `?` turns every error type into its error.
pub type HookResult<T = ()> = Result<T, BoxError>;
/// A running hook.
pub type HookFuture<'c, T> = Pin<Box<dyn Future<Output = HookResult<T>> + Send + 'c>>;

/// A plain `async fn(event: E, connection: &mut PgConnection) -> HookResult<T>`, or one that takes a [`Mailer`] too. It is
/// implemented for all of them. `A` is [`WithoutMailer`] or [`WithMailer`], which the compiler finds.
// A bound `for<'c> Fn(E, &'c mut PgConnection) -> R` cannot say that `R` borrows the connection.
pub trait Hook<'c, E, T, A>: Send + Sync {
    /// Calls the function.
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
