//! Registers the hooks of a site.

use serde_json::Value;

use super::Website;
use crate::events::{
    Deleted, Deletion, EmailChanged, Export, Hook, PasswordChanged, Registered, SignedIn, SignedOut,
};

/// Hooks. Those of one event run in the order of their registration.
impl Website {
    /// Calls `hook` in the transaction that creates an account: by a page, an invitation, the command line or an
    /// import. See [`events`](crate::events).
    #[track_caller]
    pub fn on_registered<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, Registered, ()> + 'static,
    {
        self.0.hooks.add_registered(hook);
        self
    }

    /// Calls `hook` in the transaction that changes the email of an account, or changes it back.
    #[track_caller]
    pub fn on_email_changed<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, EmailChanged, ()> + 'static,
    {
        self.0.hooks.add_email_changed(hook);
        self
    }

    /// Calls `hook` in the transaction that deletes an account, before its rows are deleted.
    #[track_caller]
    pub fn on_deletion<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, Deletion, ()> + 'static,
    {
        self.0.hooks.add_deletion(hook);
        self
    }

    /// Calls `hook` when a user exports everything that is stored about them. Its value is in the file as
    /// `website.<name>`.
    #[track_caller]
    pub fn on_export<F>(mut self, name: &'static str, hook: F) -> Self
    where
        F: for<'c> Hook<'c, Export, Value> + 'static,
    {
        self.0.hooks.add_export(name, hook);
        self
    }

    /// Calls `hook` after a user has signed in: at least once, possibly on another server.
    #[track_caller]
    pub fn after_sign_in<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, SignedIn, ()> + 'static,
    {
        self.0.hooks.add_after_sign_in(hook);
        self
    }

    /// Calls `hook` after a user has signed out: at least once, possibly on another server.
    #[track_caller]
    pub fn after_sign_out<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, SignedOut, ()> + 'static,
    {
        self.0.hooks.add_after_sign_out(hook);
        self
    }

    /// Calls `hook` after an account got a new password: at least once, possibly on another server.
    #[track_caller]
    pub fn after_password_changed<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, PasswordChanged, ()> + 'static,
    {
        self.0.hooks.add_after_password_changed(hook);
        self
    }

    /// Calls `hook` after an account was deleted: at least once, possibly on another server.
    #[track_caller]
    pub fn after_deletion<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Hook<'c, Deleted, ()> + 'static,
    {
        self.0.hooks.add_after_deletion(hook);
        self
    }
}
