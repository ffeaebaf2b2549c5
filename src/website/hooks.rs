//! Registers the hooks of a site.

use serde_json::Value;

use super::Website;
use crate::events::{
    Deleted, Deletion, EmailChanged, Export, Hook, PasswordChanged, Registered, SignedIn, SignedOut,
};

/// Hooks. Those of one event run in the order of their registration. A hook may take a [`Mailer`](crate::Mailer) as its
/// third argument.
impl Website {
    /// Calls `hook` in the transaction that creates an account: by a page, an invitation, the command line or an
    /// import. See [`events`](crate::events).
    #[track_caller]
    pub fn on_registered<F, A>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, Registered, (), A> + 'static,
        A: 'static,
    {
        self.0.hooks.add_registered(hook);
        self
    }

    /// Calls `hook` in the transaction that changes the email of an account, or changes it back.
    #[track_caller]
    pub fn on_email_changed<F, A>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, EmailChanged, (), A> + 'static,
        A: 'static,
    {
        self.0.hooks.add_email_changed(hook);
        self
    }

    /// Calls `hook` in the transaction that deletes an account, before its rows are deleted.
    #[track_caller]
    pub fn on_deletion<F, A>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, Deletion, (), A> + 'static,
        A: 'static,
    {
        self.0.hooks.add_deletion(hook);
        self
    }

    /// Calls `hook` when a user exports everything that is stored about them. Its value is in the file as
    /// `website.<name>`.
    #[track_caller]
    pub fn on_export<F, A>(mut self, name: &'static str, hook: F) -> Self
    where
        F: for<'c> Hook<'c, Export, Value, A> + 'static,
        A: 'static,
    {
        self.0.hooks.add_export(name, hook);
        self
    }

    /// Calls `hook` after a user has signed in: at least once, possibly on another server.
    #[track_caller]
    pub fn after_sign_in<F, A>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, SignedIn, (), A> + 'static,
        A: 'static,
    {
        self.0.hooks.add_after_sign_in(hook);
        self
    }

    /// Calls `hook` after a user has signed out: at least once, possibly on another server.
    #[track_caller]
    pub fn after_sign_out<F, A>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, SignedOut, (), A> + 'static,
        A: 'static,
    {
        self.0.hooks.add_after_sign_out(hook);
        self
    }

    /// Calls `hook` after an account got a new password: at least once, possibly on another server.
    #[track_caller]
    pub fn after_password_changed<F, A>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, PasswordChanged, (), A> + 'static,
        A: 'static,
    {
        self.0.hooks.add_after_password_changed(hook);
        self
    }

    /// Calls `hook` after an account was deleted: at least once, possibly on another server.
    #[track_caller]
    pub fn after_deletion<F, A>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, Deleted, (), A> + 'static,
        A: 'static,
    {
        self.0.hooks.add_after_deletion(hook);
        self
    }
}
