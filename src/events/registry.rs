//! The hooks that a site registered, in their order.

use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::hook::{Hook, HookFuture};
use super::mailer::Mailer;
use super::{
    Deleted, Deletion, Details, EmailChanged, Export, PasswordChanged, Registered, SignedIn,
    SignedOut,
};

/// A hook for the event `E`.
pub(super) type AnyHook<E, T> = Arc<dyn for<'c> Hook<'c, E, T, AnyKind>>;

/// The kind of a hook that is stored, whether it takes a [`Mailer`] or not.
pub(super) enum AnyKind {}

/// Calls a hook `F` of the kind `A` for the event `E`, which is stored as another type for a hook after a commit.
struct Stored<F, E, A>(F, PhantomData<fn(E) -> A>);

impl<'c, S, E, T, F, A> Hook<'c, S, T, AnyKind> for Stored<F, E, A>
where
    E: From<S>,
    F: Hook<'c, E, T, A>,
{
    fn call(
        &self,
        event: S,
        connection: &'c mut PgConnection,
        mailer: &Mailer,
    ) -> HookFuture<'c, T> {
        self.0.call(E::from(event), connection, mailer)
    }
}

/// A registered hook.
pub(super) struct Registration<E, T> {
    pub(super) name: String,
    defined_at: &'static Location<'static>,
    pub(super) hook: AnyHook<E, T>,
}

impl<E, T> Clone for Registration<E, T> {
    fn clone(&self) -> Self {
        let (name, hook) = (self.name.clone(), Arc::clone(&self.hook));
        Self { name, defined_at: self.defined_at, hook }
    }
}

/// Which event a hook after a commit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// A sign-in.
    SignIn,
    /// A sign-out.
    SignOut,
    /// A new password.
    PasswordChanged,
    /// The deletion of an account.
    Deletion,
}

impl After {
    /// The name of the method that registers a hook for it, which is also `event_deliveries.event`.
    pub fn as_str(self) -> &'static str {
        match self {
            After::SignIn => "after_sign_in",
            After::SignOut => "after_sign_out",
            After::PasswordChanged => "after_password_changed",
            After::Deletion => "after_deletion",
        }
    }
}

/// A hook that runs after the commit.
#[derive(Clone)]
pub(super) struct AfterHook {
    pub(super) event: After,
    pub(super) registration: Registration<(Uuid, Details), ()>,
}

/// The hooks of a site. The program `frontdesk` has none.
#[derive(Clone, Default)]
pub struct RegisteredHooks {
    pub(super) registered: Vec<Registration<Registered, ()>>,
    pub(super) email_changed: Vec<Registration<EmailChanged, ()>>,
    pub(super) deletion: Vec<Registration<Deletion, ()>>,
    pub(super) export: Vec<Registration<Export, Value>>,
    pub(super) after: Vec<AfterHook>,
    problems: Vec<String>,
}

impl RegisteredHooks {
    /// The events that have a hook, without duplicates: `on_registered`, `on_export:notes`, `after_sign_in`. The names
    /// of functions are left out, because a new version of a site may rename them.
    pub fn names(&self) -> Vec<String> {
        let kind = |is_used: bool, name: &str| is_used.then(|| name.to_owned());
        let mut names = BTreeSet::new();
        names.extend(kind(!self.registered.is_empty(), "on_registered"));
        names.extend(kind(!self.email_changed.is_empty(), "on_email_changed"));
        names.extend(kind(!self.deletion.is_empty(), "on_deletion"));
        names.extend(self.export.iter().map(|hook| format!("on_export:{}", hook.name)));
        names.extend(self.after.iter().map(|hook| hook.event.as_str().to_owned()));
        names.into_iter().collect()
    }

    /// What is wrong with the registrations, as sentences.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Adds a hook for new accounts.
    #[track_caller]
    pub fn add_registered<F, A>(&mut self, hook: F)
    where
        F: for<'c> Hook<'c, Registered, (), A> + 'static,
        A: 'static,
    {
        let one = registration(function_name::<F>(), Arc::new(Stored(hook, PhantomData)));
        add(&mut self.registered, one, "on_registered", &mut self.problems);
    }

    /// Adds a hook for changes of an email.
    #[track_caller]
    pub fn add_email_changed<F, A>(&mut self, hook: F)
    where
        F: for<'c> Hook<'c, EmailChanged, (), A> + 'static,
        A: 'static,
    {
        let one = registration(function_name::<F>(), Arc::new(Stored(hook, PhantomData)));
        add(&mut self.email_changed, one, "on_email_changed", &mut self.problems);
    }

    /// Adds a hook for deletions.
    #[track_caller]
    pub fn add_deletion<F, A>(&mut self, hook: F)
    where
        F: for<'c> Hook<'c, Deletion, (), A> + 'static,
        A: 'static,
    {
        let one = registration(function_name::<F>(), Arc::new(Stored(hook, PhantomData)));
        add(&mut self.deletion, one, "on_deletion", &mut self.problems);
    }

    /// Adds a hook for exports, whose value is called `name`.
    #[track_caller]
    pub fn add_export<F, A>(&mut self, name: &str, hook: F)
    where
        F: for<'c> Hook<'c, Export, Value, A> + 'static,
        A: 'static,
    {
        let one = registration(name.to_owned(), Arc::new(Stored(hook, PhantomData)));
        add(&mut self.export, one, "on_export", &mut self.problems);
    }

    /// Adds a hook after sign-ins.
    #[track_caller]
    pub fn add_after_sign_in<F, A>(&mut self, hook: F)
    where
        F: for<'c> Hook<'c, SignedIn, (), A> + 'static,
        A: 'static,
    {
        self.add_after::<SignedIn, F, A>(After::SignIn, hook);
    }

    /// Adds a hook after sign-outs.
    #[track_caller]
    pub fn add_after_sign_out<F, A>(&mut self, hook: F)
    where
        F: for<'c> Hook<'c, SignedOut, (), A> + 'static,
        A: 'static,
    {
        self.add_after::<SignedOut, F, A>(After::SignOut, hook);
    }

    /// Adds a hook after new passwords.
    #[track_caller]
    pub fn add_after_password_changed<F, A>(&mut self, hook: F)
    where
        F: for<'c> Hook<'c, PasswordChanged, (), A> + 'static,
        A: 'static,
    {
        self.add_after::<PasswordChanged, F, A>(After::PasswordChanged, hook);
    }

    /// Adds a hook after deletions.
    #[track_caller]
    pub fn add_after_deletion<F, A>(&mut self, hook: F)
    where
        F: for<'c> Hook<'c, Deleted, (), A> + 'static,
        A: 'static,
    {
        self.add_after::<Deleted, F, A>(After::Deletion, hook);
    }

    #[track_caller]
    fn add_after<E, F, A>(&mut self, event: After, hook: F)
    where
        E: From<(Uuid, Details)> + 'static,
        F: for<'c> Hook<'c, E, (), A> + 'static,
        A: 'static,
    {
        let hook = Stored::<F, E, A>(hook, PhantomData);
        let registration = registration(function_name::<F>(), Arc::new(hook));
        let same = self
            .after
            .iter()
            .find(|other| other.event == event && other.registration.name == registration.name);
        if let Some(other) = same {
            let places = (other.registration.defined_at, registration.defined_at);
            self.problems.push(duplicate(event.as_str(), &registration.name, places));
        }
        self.after.push(AfterHook { event, registration });
    }
}

impl fmt::Debug for RegisteredHooks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("RegisteredHooks").field(&self.names()).finish()
    }
}

#[track_caller]
fn registration<E, T>(name: String, hook: AnyHook<E, T>) -> Registration<E, T> {
    Registration { name, defined_at: Location::caller(), hook }
}

fn add<E, T>(
    hooks: &mut Vec<Registration<E, T>>,
    one: Registration<E, T>,
    event: &str,
    problems: &mut Vec<String>,
) {
    if let Some(other) = hooks.iter().find(|other| other.name == one.name) {
        problems.push(duplicate(event, &one.name, (other.defined_at, one.defined_at)));
    }
    hooks.push(one);
}

fn duplicate(event: &str, name: &str, (first, second): (&Location<'_>, &Location<'_>)) -> String {
    let place = |at: &Location<'_>| format!("{}:{}", at.file(), at.line());
    format!(
        "The hook {event} {name} is defined twice, at {} and at {}. Hooks of one event need different names; use named functions.",
        place(first),
        place(second)
    )
}

/// The path of the function inside its crate.
fn function_name<F>() -> String {
    let path = type_name::<F>();
    path.split_once("::").map_or(path, |(_, name)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::events::HookResult;

    async fn welcome(_: Registered, connection: &mut PgConnection) -> HookResult {
        sqlx::query("SELECT 1").execute(connection).await?;
        Ok(())
    }

    async fn notes(_: Export, connection: &mut PgConnection) -> HookResult<Value> {
        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(connection).await?;
        Ok(json!(one))
    }

    async fn greet(_: SignedIn, _: &mut PgConnection) -> HookResult {
        Ok(())
    }

    #[test]
    fn hooks_are_named_by_their_event_and_a_name_is_used_once() {
        let mut hooks = RegisteredHooks::default();
        hooks.add_registered(welcome);
        hooks.add_export("notes", notes);
        hooks.add_export("drafts", notes);
        hooks.add_after_sign_in(greet);
        assert_eq!(
            hooks.names(),
            ["after_sign_in", "on_export:drafts", "on_export:notes", "on_registered"]
        );
        assert!(hooks.problems().is_empty());
        assert!(hooks.registered[0].name.ends_with("::welcome"), "{}", hooks.registered[0].name);
        hooks.add_export("notes", notes);
        hooks.add_registered(welcome);
        hooks.add_after_sign_in(greet);
        assert_eq!(hooks.problems().len(), 3);
        for problem in hooks.problems() {
            assert_eq!(problem.matches("registry.rs:").count(), 2, "{problem}");
        }
    }
}
