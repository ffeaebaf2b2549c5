//! `GET`, `POST /verify-email/{token}`: the link that shows that an address is its owner's: of somebody who registered, or
//! of somebody with an account. Looking at it does nothing; mail scanners follow links. The button needs the password, or
//! the account's own session: who only reads the mailbox never activates what somebody else prepared.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::link_gone::{self, Instead};
use super::{login, registration_cookie};
use crate::app::App;
use crate::auth::{self, CurrentUser, FirstFactor, SignIn, Visitor, known_device};
use crate::crypto::secret::Secret;
use crate::user::email::address::EmailAddress;
use crate::user::email::token::{PendingLink, Purpose};
use crate::user::email::verification::{Authorization, ConfirmationOutcome};
use crate::user::password::hasher::Verdict;
use crate::user::password::policy::Password;
use crate::user::rate_limit::{Action, Attempt, Permit};
use crate::user::sign_up::registration::{self, PendingRegistration, RegistrationOutcome};
use crate::user::{Authentication, User, authenticate, email, users};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::headers::without_referrer;
use crate::web::page::Page;

pub(super) const GONE: Instead = Instead {
    text: "Sign in to see whether your email address is confirmed, or to get another email. If you never finished signing up, create your account again.",
    href: "/login",
    label: "Sign in",
};
const WRONG: &str = "That password is incorrect.";

#[derive(Serialize)]
struct Data {
    form: FormView,
    email: String,
    /// There is no account yet.
    is_new: bool,
    /// The address becomes the one of an account that has another.
    is_change: bool,
    asks_password: bool,
}

/// What a link is for.
enum Link {
    Registration(PendingRegistration),
    /// `own`: the visitor, if this is a session of the account.
    Account {
        pending: PendingLink,
        address: Option<EmailAddress>,
        own: Option<CurrentUser>,
    },
}

/// `GET /verify-email/{token}`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    visitor: Visitor,
    path: web::Path<String>,
) -> Result<HttpResponse, HttpError> {
    match find(&app, &visitor, &path).await? {
        None => link_gone::show(&page, GONE),
        Some((_, link)) => {
            let data = data(&link, FormView::default());
            page.show("sign_in/verify_email.html", &data).map(without_referrer)
        }
    }
}

/// `POST /verify-email/{token}`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: Visitor,
    path: web::Path<String>,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let found = find(&app, &visitor, &path).await?;
    let permit = check(&app, &page, &visitor, found.as_ref().map(|(_, link)| link)).await?;
    let Some((token, link)) = found else {
        return link_gone::show(&page, GONE);
    };
    let mut form = FormView::default();
    let password = match &link {
        Link::Account { own: Some(_), .. } => None,
        _ => {
            let typed = form.take(&mut sent, "password", "Your password");
            if form.is_good() && typed.is_empty() {
                form.refuse("password", "Enter your password.");
            }
            match Password::parse(&typed) {
                Ok(password) => Some(password),
                Err(too_long) => {
                    form.refuse("password", too_long.to_string());
                    None
                }
            }
        }
    };
    if form.is_good() {
        let done = match &link {
            Link::Registration(waiting) => {
                let password = password.ok_or(HttpError::BadRequest)?;
                register(&app, &page, &permit, &token, waiting, &password).await?
            }
            Link::Account { pending, address, own } => {
                let proof = match own {
                    Some(user) => Reauthentication::Session(user),
                    None => {
                        let password = password.as_ref().ok_or(HttpError::BadRequest)?;
                        Reauthentication::Password(address.as_ref(), password)
                    }
                };
                confirm(&app, &page, &permit, &token, pending, proof).await?
            }
        };
        match done {
            Done::Gone => return link_gone::show(&page, GONE),
            Done::Wrong => {
                if let Link::Account { address, .. } = &link {
                    let origin = auth::origin(page.request());
                    permit.record_wait(address.as_ref(), &origin).await?;
                }
                form.refuse("password", WRONG);
            }
            Done::Good(response) => {
                permit.refund().await?;
                return Ok(without_referrer(response));
            }
        }
    }
    page.show_refused("sign_in/verify_email.html", &data(&link, form)).map(without_referrer)
}

/// Counts a try, by what is guessed: the password of an account is guessed at here as at the sign-in page, that of a
/// registration by its address, and without a password only links are. In a session, the attempt is counted only
/// if the session still exists.
async fn check(
    app: &App,
    page: &Page,
    visitor: &Visitor,
    link: Option<&Link>,
) -> Result<Permit, HttpError> {
    let request = page.request();
    let ip = auth::origin(request).ip_address;
    let requester = visitor.0.as_ref().map(|user| user.requester(request));
    let attempt = match (link, &requester) {
        (Some(Link::Account { address: Some(address), own: None, .. }), _) => {
            let device = known_device::known_for(request, app, Some(address)).await?;
            Attempt::of(Action::SignIn).email(Some(address)).known_device(device)
        }
        (Some(Link::Registration(waiting)), _) => {
            Attempt::of(Action::Verify).account(Some(&waiting.email_canonical))
        }
        (_, Some(requester)) => Attempt::of(Action::Verify).requester(requester),
        (_, None) => Attempt::of(Action::Verify),
    };
    Ok(attempt.ip(ip).check(&app.pool).await?)
}

enum Done {
    Good(HttpResponse),
    Wrong,
    Gone,
}

/// Makes the account, and signs in.
async fn register(
    app: &App,
    page: &Page,
    permit: &Permit,
    token: &Secret,
    waiting: &PendingRegistration,
    password: &Password,
) -> Result<Done, HttpError> {
    let verify = app.hasher.verify(password, Some(&waiting.password_hash));
    let verdict = permit.give_back_on_error(verify).await?;
    if matches!(verdict, Verdict::NoMatch) {
        return Ok(Done::Wrong);
    }
    let origin = auth::origin(page.request());
    let finish = registration::finish_by_link(&app.pool, token, origin);
    match permit.give_back_on_error(finish).await? {
        RegistrationOutcome::Done { user, .. } => welcome(app, page, *user).await.map(Done::Good),
        RegistrationOutcome::WrongCode
        | RegistrationOutcome::ExpiredCode
        | RegistrationOutcome::Gone => Ok(Done::Gone),
    }
}

/// The account is there; its owner, who gave the password in this browser just now, is signed in. `user` is the account as
/// it was inserted.
pub(super) async fn welcome(app: &App, page: &Page, user: User) -> Result<HttpResponse, HttpError> {
    let email = user.email.clone();
    let proven = FirstFactor { user, method: "pwd" };
    let response = match auth::first_factor(page.request(), app, proven, false).await? {
        SignIn::SignedIn => {
            let notice = Notice::good("Your email address is confirmed. This is your account.");
            page.redirect_with("/account", &notice)
        }
        SignIn::Overtaken => login::show_overtaken(page, app, &email)?,
    };
    Ok(registration_cookie::take_back(response, app))
}

/// What shows that it is the owner who uses a link.
enum Reauthentication<'a> {
    /// A session of the account.
    Session(&'a CurrentUser),
    /// The email that the account has now, and a password to compare.
    Password(Option<&'a EmailAddress>, &'a Password),
}

/// Confirms an address of an account that is there.
async fn confirm(
    app: &App,
    page: &Page,
    permit: &Permit,
    token: &Secret,
    pending: &PendingLink,
    proof: Reauthentication<'_>,
) -> Result<Done, HttpError> {
    let request = page.request();
    let mut proved = None;
    let authorization = match proof {
        Reauthentication::Session(user) => Authorization::Session(user.requester(request)),
        Reauthentication::Password(address, password) => {
            let origin = auth::origin(request);
            let (pool, hasher) = (&app.pool, &app.hasher);
            match authenticate(pool, hasher, permit, address, password, &origin).await? {
                Authentication::Accepted(user) if user.id == pending.user => {
                    let id = user.id;
                    proved = Some(user);
                    Authorization::Password { user: id, origin }
                }
                _ => return Ok(Done::Wrong),
            }
        }
    };
    let (pool, sealer) = (&app.pool, app.sealer.clone());
    let confirm = email::verification::confirm_by_link(pool, sealer, authorization, token);
    let confirmed = permit.give_back_on_error(confirm).await??;
    let ConfirmationOutcome::Done { user, email, secret, changed } = confirmed else {
        return Ok(Done::Gone);
    };
    app.sessions.invalidate_user(user).await;
    match proved {
        Some(proved) => {
            // The password is the one that was compared; the email is what this link just made it.
            let user = if changed { User { email: email.clone(), ..proved } } else { proved };
            let proven = FirstFactor { user, method: "pwd" };
            if auth::first_factor(request, app, proven, false).await? == SignIn::Overtaken {
                return login::show_overtaken(page, app, &email).map(Done::Good);
            }
        }
        None if changed => auth::rotate_cookie(request, secret),
        None => {}
    }
    let notice = Notice::good(if changed {
        format!("Your email address is now {email}, and you've been signed out everywhere else.")
    } else {
        format!("{email} is confirmed.")
    });
    Ok(Done::Good(page.redirect_with("/account/email", &notice)))
}

async fn find(
    app: &App,
    visitor: &Visitor,
    token: &str,
) -> Result<Option<(Secret, Link)>, HttpError> {
    let Some(token) = Secret::parse(token) else { return Ok(None) };
    if let Some(waiting) = registration::find_by_token(&app.pool, &token).await? {
        return Ok(Some((token, Link::Registration(waiting))));
    }
    let pending = email::token::find(&app.pool, &token).await?;
    let confirms = |pending: &PendingLink| {
        matches!(pending.purpose, Purpose::VerifyEmail | Purpose::ChangeEmail)
    };
    let Some(pending) = pending.filter(confirms) else { return Ok(None) };
    let owner = users::find(&app.pool, pending.user).await?;
    let address = owner.and_then(|owner| EmailAddress::parse(&owner.email).ok());
    let own = visitor.0.clone().filter(|own| own.account.id == pending.user);
    Ok(Some((token, Link::Account { pending, address, own })))
}

fn data(link: &Link, form: FormView) -> Data {
    match link {
        Link::Registration(waiting) => Data {
            form,
            email: waiting.email.clone(),
            is_new: true,
            is_change: false,
            asks_password: true,
        },
        Link::Account { pending, own, .. } => Data {
            form,
            email: pending.email.clone(),
            is_new: false,
            is_change: pending.purpose == Purpose::ChangeEmail,
            asks_password: own.is_none(),
        },
    }
}
