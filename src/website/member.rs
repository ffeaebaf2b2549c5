//! The members of a group, for a site's handlers.

use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::current_user::CurrentUser;
use super::error::Error;
use crate::user::groups;
use crate::web::caller::Caller;
use crate::web::error::HttpError;

/// A group of users, for [`Member`]. The command `group` of the site's program creates groups and adds members. While
/// there is no group with this name, it has no members.
///
/// ```
/// use frontdesk::Group;
///
/// struct Editors;
///
/// impl Group for Editors {
///     const NAME: &'static str = "editors";
/// }
/// ```
pub trait Group {
    /// The name of the group: 1 to 64 lower-case letters, digits and hyphens. Another one does not compile.
    const NAME: &'static str;
}

/// A signed-in user who is a member of the group `G`. Everyone else who is signed in gets 403, a script with
/// `{"error":"forbidden"}`. A user who was removed from the group is refused at the next request on every server.
///
/// ```
/// use frontdesk::{Group, Member, Page, PageResult};
/// use serde_json::json;
///
/// struct Editors;
///
/// impl Group for Editors {
///     const NAME: &'static str = "editors";
/// }
///
/// async fn drafts(editor: Member<Editors>, page: Page) -> PageResult {
///     page.render("drafts.html", &json!({ "editor": editor.display_name() }))
/// }
/// ```
pub struct Member<G> {
    user: CurrentUser,
    group: PhantomData<fn() -> G>,
}

// Derived ones would ask the same of `G`.
impl<G> Clone for Member<G> {
    fn clone(&self) -> Self {
        Self { user: self.user.clone(), group: PhantomData }
    }
}

impl<G: Group> fmt::Debug for Member<G> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Member").field("group", &G::NAME).field("user", &self.user).finish()
    }
}

impl<G> Deref for Member<G> {
    type Target = CurrentUser;

    fn deref(&self) -> &CurrentUser {
        &self.user
    }
}

impl<G: Group> FromRequest for Member<G> {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        const { assert!(groups::is_name(G::NAME), "Group::NAME can be no name of a group") };
        let user = CurrentUser::from_request(request, payload).into_inner();
        ready(user.and_then(|user| match user.is_in(G::NAME) {
            true => Ok(Self { user, group: PhantomData }),
            false if Caller::of(request) == Caller::Script => {
                Err(Error::of(HttpError::NoAccessForScript))
            }
            false => Err(Error::forbidden()),
        }))
    }
}
