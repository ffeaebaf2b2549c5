//! The signed-in user, for a site's handlers.

use std::fmt;
use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{Error as ActixError, FromRequest, HttpMessage as _, HttpRequest};
use futures_util::future::LocalBoxFuture;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Error;
use super::form::FormIsRead;
use super::live_session::LiveSession;
use crate::app::App;
use crate::auth;
use crate::db;
use crate::language::ENGLISH;
use crate::role::Role;
use crate::session::Requester;
use crate::site::{SiteDatabase, WithoutSession};
use crate::web::caller::Caller;
use crate::web::error::HttpError;
use crate::web::return_to;

/// The signed-in user. A handler that takes it runs only for signed-in users.
///
/// Without a session, a person who opens a page is redirected to the sign-in page (303) and back afterwards, or back
/// to the page with the form if they sent one; the form itself is lost. A script, which cannot use a redirect, gets 401 with `{"error":"sign_in_required"}`.
///
/// ```
/// use frontdesk::{CurrentUser, Page, PageResult};
/// use serde_json::json;
///
/// async fn hello(user: CurrentUser, page: Page) -> PageResult {
///     page.render("hello.html", &json!({ "name": user.display_name() }))
/// }
/// ```
#[derive(Clone)]
pub struct CurrentUser {
    user: auth::CurrentUser,
    pub(super) requester: Requester,
    /// The schema of Frontdesk's tables.
    schema: Arc<str>,
    pub(super) live: LiveSession,
    /// Whether the request is one of a script, which cannot use a redirect.
    is_script: bool,
}

impl fmt::Debug for CurrentUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CurrentUser").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The rights of a user on the pages of Frontdesk.
///
/// ```
/// use frontdesk::{CurrentUser, UserRole};
///
/// fn may_see_statistics(user: &CurrentUser) -> bool {
///     user.role() == UserRole::Admin
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserRole {
    /// May use and change their own account.
    User,
    /// May use the administration pages.
    Admin,
}

/// The authentication assurance level of a session (NIST SP 800-63B).
///
/// ```
/// use frontdesk::{AssuranceLevel, CurrentUser, Error};
///
/// fn require_two_factors(user: &CurrentUser) -> Result<(), Error> {
///     match user.assurance_level() < AssuranceLevel::Aal2 {
///         true => Err(Error::forbidden()),
///         false => Ok(()),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AssuranceLevel {
    /// One factor: a password.
    Aal1,
    /// Two factors.
    Aal2,
}

impl CurrentUser {
    fn new(user: auth::CurrentUser, request: &HttpRequest) -> Result<Self, Error> {
        let schema = SiteDatabase::of(request)?.frontdesk_schema.clone();
        let app = request
            .app_data::<Data<App>>()
            .ok_or_else(|| Error::internal("the app is not set up"))?;
        let live = LiveSession::new(app.clone());
        let is_script = Caller::of(request) == Caller::Script;
        Ok(Self { requester: user.requester(request), user, schema, live, is_script })
    }

    /// `users.id`, the target of the site's foreign keys. It never changes and is never used again.
    pub fn id(&self) -> Uuid {
        self.user.account.id.uuid()
    }

    /// The email as the user typed it.
    pub fn email(&self) -> &str {
        &self.user.account.email
    }

    /// Whether the user has proven that they read this email, by a link or a code that was sent to it. Before, it may belong
    /// to another person.
    ///
    /// ```
    /// # use frontdesk::{CurrentUser, Error};
    /// fn require_own_email(user: &CurrentUser) -> Result<(), Error> {
    ///     if user.email_is_verified() { Ok(()) } else { Err(Error::forbidden()) }
    /// }
    /// ```
    pub fn email_is_verified(&self) -> bool {
        self.user.account.email_is_verified
    }

    /// The name on pages and in mails. Users choose it: show it inside `<bdi>`.
    pub fn display_name(&self) -> &str {
        &self.user.account.display_name
    }

    /// The role.
    pub fn role(&self) -> UserRole {
        match self.user.account.role {
            Role::User => UserRole::User,
            Role::Admin => UserRole::Admin,
        }
    }

    /// Whether the user is a member of the group with this name ([`Group`](crate::Group)).
    ///
    /// ```
    /// # use frontdesk::{CurrentUser, Page, PageResult};
    /// # use serde_json::json;
    /// async fn show(user: CurrentUser, page: Page) -> PageResult {
    ///     page.render("show.html", &json!({ "may_edit": user.is_in("editors") }))
    /// }
    /// ```
    pub fn is_in(&self, group: &str) -> bool {
        self.user.account.groups.iter().any(|name| name == group)
    }

    /// The language of pages and mails for this user, as a language tag (BCP 47).
    pub fn language(&self) -> &str {
        ENGLISH
    }

    /// How the user has proven who they are in this session.
    pub fn assurance_level(&self) -> AssuranceLevel {
        AssuranceLevel::Aal1
    }

    /// The public identifier of the session. It is not a credential.
    pub fn session_id(&self) -> Uuid {
        self.user.session.id.uuid()
    }

    /// When the session began, by the clock of the database.
    pub fn signed_in_at(&self) -> OffsetDateTime {
        self.user.session.created_at
    }

    /// Checks in the caller's transaction that the session still exists, and holds it until the end of that
    /// transaction: nobody is signed out in the middle of a change. The extractor checked it when the headers of
    /// the request arrived, which may be long ago for a large form. Otherwise the error redirects to the sign-in
    /// page, or is 401 for a script. Use it in [`Pool::transaction`](crate::Pool::transaction).
    pub async fn require_live(&self, connection: &mut PgConnection) -> Result<(), Error> {
        // The statement must not find a table of the site's schema with the name of one of Frontdesk's.
        let before: String = sqlx::query_scalar("SELECT current_setting('search_path')")
            .fetch_one(&mut *connection)
            .await?;
        db::set_search_path(connection, &self.schema).await?;
        let locked = self.requester.lock_session(connection).await?;
        db::set_search_path(connection, &before).await?;
        locked.map_err(|ended| match self.is_script {
            true => Error::of(HttpError::SignInRequired),
            false => Error::of(ended.into()),
        })
    }
}

impl FromRequest for CurrentUser {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if request.app_data::<WithoutSession>().is_some() {
            return ready(Err(Error::internal(
                "a handler below Routes::without_session takes CurrentUser or Member, which needs the session",
            )));
        }
        let user = auth::CurrentUser::from_request(request, payload).into_inner();
        ready(match user {
            Ok(user) => Self::new(user, request),
            Err(HttpError::SignInFirst { .. }) if Caller::of(request) == Caller::Script => {
                Err(Error::of(HttpError::SignInRequired))
            }
            Err(HttpError::SignInFirst { next }) if next.is_empty() => {
                let next = return_to::referring_page(request).unwrap_or(next);
                Err(Error::of(HttpError::SignInFirst { next }))
            }
            Err(error) => Err(Error::of(error)),
        })
    }
}

/// The signed-in user, if there is one: for pages that are open to everyone.
///
/// ```
/// use frontdesk::{Page, PageResult, Visitor};
/// use serde_json::json;
///
/// async fn start(visitor: Visitor, page: Page) -> PageResult {
///     let name = visitor.user().map(|user| user.display_name());
///     page.render("start.html", &json!({ "name": name }))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Visitor(Option<CurrentUser>);

impl Visitor {
    /// The signed-in user.
    pub fn user(&self) -> Option<&CurrentUser> {
        self.0.as_ref()
    }
}

impl FromRequest for Visitor {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        if request.app_data::<WithoutSession>().is_some() {
            return ready(Err(Error::internal(
                "a handler below Routes::without_session takes Visitor or Admin, which needs the session",
            )));
        }
        let user = request.extensions().get::<auth::CurrentUser>().cloned();
        ready(user.map(|user| CurrentUser::new(user, request)).transpose().map(Self))
    }
}

/// A user who entered their password in this session within the last 15 minutes, for changes that a stolen session
/// must not make.
///
/// Otherwise the user is asked for it. A form is kept meanwhile, without passwords, and is processed afterwards. A
/// script gets 403 with `{"error":"reauthentication_required"}`.
///
/// It must stand before [`Form`](crate::Form) in the arguments of a handler, because both read the body; otherwise
/// the answer is 500, and the log says why.
///
/// ```
/// use frontdesk::{Form, Page, PageResult, Pool, RecentlyAuthenticated};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Confirmed {}
///
/// async fn delete_all(
///     user: RecentlyAuthenticated,
///     page: Page,
///     pool: Pool,
///     _: Form<Confirmed>,
/// ) -> PageResult {
///     sqlx::query("DELETE FROM notes WHERE owner_id = $1").bind(user.id()).execute(&*pool).await?;
///     Ok(page.redirect("/notes"))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct RecentlyAuthenticated(CurrentUser);

impl Deref for RecentlyAuthenticated {
    type Target = CurrentUser;

    fn deref(&self) -> &CurrentUser {
        &self.0
    }
}

impl FromRequest for RecentlyAuthenticated {
    type Error = ActixError;
    type Future = LocalBoxFuture<'static, Result<Self, ActixError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if request.extensions().get::<FormIsRead>().is_some() {
            return Box::pin(async {
                Err(Error::internal(
                    "RecentlyAuthenticated must stand before Form in the arguments of a handler: both read the body",
                )
                .into())
            });
        }
        let user = match CurrentUser::from_request(request, payload).into_inner() {
            Ok(user) => user,
            Err(error) => return Box::pin(async { Err(error.into()) }),
        };
        let is_recent = auth::RecentlyAuthenticated::is_recent(&user.user.session);
        if !is_recent && Caller::of(request) == Caller::Script {
            return Box::pin(async { Err(Error::of(HttpError::ReauthenticationRequired).into()) });
        }
        let authenticated = auth::RecentlyAuthenticated::from_request(request, payload);
        Box::pin(async { authenticated.await.map(|_| Self(user)) })
    }
}

/// A signed-in user with the role `admin`. Everyone else gets the answer of an unknown path (404).
///
/// ```
/// use frontdesk::{Admin, Page, PageResult};
/// use serde_json::json;
///
/// async fn statistics(_: Admin, page: Page) -> PageResult {
///     page.render("statistics.html", &json!({}))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Admin(CurrentUser);

impl Deref for Admin {
    type Target = CurrentUser;

    fn deref(&self) -> &CurrentUser {
        &self.0
    }
}

impl FromRequest for Admin {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visitor = Visitor::from_request(request, payload).into_inner();
        ready(match visitor {
            Ok(Visitor(Some(user))) if user.role() == UserRole::Admin => Ok(Self(user)),
            Ok(_) => Err(Error::not_found()),
            Err(error) => Err(error),
        })
    }
}
