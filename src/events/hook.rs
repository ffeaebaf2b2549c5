//! The functions that a site registers, and what they return.

use std::future::Future;
use std::pin::Pin;

use sqlx::PgConnection;

/// An error of a site's hook, handler, job or command.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a hook returns. The operator `?` turns every error type into its error.
pub type HookResult<T = ()> = Result<T, BoxError>;
/// A running hook.
pub type HookFuture<'c, T> = Pin<Box<dyn Future<Output = HookResult<T>> + Send + 'c>>;

/// A plain `async fn(event: E, connection: &mut PgConnection) -> HookResult<T>`. It is implemented for all of them.
// A bound `for<'c> Fn(E, &'c mut PgConnection) -> R` cannot say that `R` borrows the connection.
pub trait Hook<'c, E, T>: Send + Sync {
    /// Calls the function.
    fn call(&self, event: E, connection: &'c mut PgConnection) -> HookFuture<'c, T>;
}

impl<'c, E, T, F, R> Hook<'c, E, T> for F
where
    F: Fn(E, &'c mut PgConnection) -> R + Send + Sync,
    R: Future<Output = HookResult<T>> + Send + 'c,
{
    fn call(&self, event: E, connection: &'c mut PgConnection) -> HookFuture<'c, T> {
        Box::pin(self(event, connection))
    }
}
