//! `GET /verify-email/{token}`, `GET`, `POST /verify-email/link`: the link that verifies the email of a
//! registration or of an account. GET changes nothing, because mail scanners follow links. The button requires
//! the password, or a session of the account: otherwise an attacker could register with a victim's email and
//! have the victim activate the account (pre-hijacking).

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::link_gone::{self, Alternative};
use super::mailed_link::{self, VERIFY_EMAIL};
use super::{login, registration_cookie};
use crate::app::App;
use crate::auth::{self, CurrentUser, FirstFactor, OptionalUser, SignInOutcome, known_device};
use crate::crypto::secret::Secret;
use crate::language::Text;
use crate::mail::address::EmailAddress;
use crate::paths::page_path;
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
use crate::web::page::Page;

pub(super) const ALTERNATIVE: Alternative =
    Alternative { text: || Text::key("link-gone-verify"), href: "/login", label: "action-sign-in" };
const TEMPLATE: &str = "sign_in/verify_email.html";
const WRONG_PASSWORD: &str = "password-wrong";

#[derive(Serialize)]
struct Data {
    form: FormView,
    /// The sealed token.
    link: String,
    email: String,
    /// The link completes a registration: there is no account yet.
    is_new: bool,
    /// The link replaces the email of an account.
    is_change: bool,
    asks_password: bool,
}

/// A valid link.
enum Link {
    Registration(PendingRegistration),
    /// `email`: the account's current email. `own`: the signed-in user, if it is the owner of the account.
    Account {
        pending: PendingLink,
        email: Option<EmailAddress>,
        own: Option<CurrentUser>,
    },
}

/// `GET /verify-email/{token}`: 303 to the page without the token.
#[tracing::instrument(name = "open_verification_link", level = "debug", skip_all)]
pub async fn open(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
) -> Result<HttpResponse, HttpError> {
    let token = mailed_link::token_in_path(page.request());
    match find(&app, &visitor, token).await? {
        Some((token, _)) => Ok(VERIFY_EMAIL.redirect(&page, &app, &token, None)),
        None => link_gone::show(&page, ALTERNATIVE),
    }
}

/// `GET /verify-email/link`.
#[tracing::instrument(name = "verify_email_form", level = "debug", skip_all)]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
) -> Result<HttpResponse, HttpError> {
    let Some(token) = VERIFY_EMAIL.token(page.request(), &app) else {
        return mailed_link::show_unopened(&page);
    };
    let Some((token, link)) = find(&app, &visitor, Some(token)).await? else {
        return link_gone::show(&page, ALTERNATIVE);
    };
    page.show(TEMPLATE, &data(&app, &token, &link, FormView::default()))
}

/// `POST /verify-email/link`.
#[tracing::instrument(name = "verify_email", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let token = VERIFY_EMAIL.submitted_token(page.request(), &app, &mut sent);
    let digest = token.as_ref().map(Secret::digest);
    let found = find(&app, &visitor, token).await?;
    let permit = check(&app, &page, &visitor, found.as_ref().map(|(_, link)| link)).await?;
    let Some((token, link)) = found else {
        return link_gone::refuse(&app, &page, &permit, digest.as_ref(), ALTERNATIVE).await;
    };
    let mut form = FormView::default();
    let Some(credential) = parse(&link, &mut form, sent) else {
        return page.show_refused(TEMPLATE, &data(&app, &token, &link, form));
    };
    let outcome = match &link {
        Link::Registration(pending) => {
            let Credential::Password(password) = credential else {
                return Err(HttpError::BadRequest);
            };
            register(&app, &page, &permit, &token, pending, &password).await?
        }
        Link::Account { pending, email, .. } => {
            confirm(&app, &page, &permit, &token, pending, email.as_ref(), credential).await?
        }
    };
    match outcome {
        Outcome::InvalidLink => {
            link_gone::refuse(&app, &page, &permit, digest.as_ref(), ALTERNATIVE).await
        }
        Outcome::WrongPassword => {
            if let Link::Account { email, .. } = &link {
                let origin = auth::origin(page.request());
                permit.record_failure(&app.sealer, email.as_ref(), &origin).await?;
            }
            form.add_error("password", Text::key(WRONG_PASSWORD));
            page.show_refused(TEMPLATE, &data(&app, &token, &link, form))
        }
        Outcome::Done(response) => {
            permit.refund().await?;
            Ok(mailed_link::clear(response, &app))
        }
    }
}

/// The credential that proves that the user of the link owns the account.
enum Credential {
    /// A session of the account.
    Session(CurrentUser),
    /// A password, to be compared.
    Password(Password),
}

/// Returns the session of the account, or else the submitted password. `None`: the errors are in `form`.
fn parse(link: &Link, form: &mut FormView, mut sent: Form) -> Option<Credential> {
    if let Link::Account { own: Some(user), .. } = link {
        return Some(Credential::Session(user.clone()));
    }
    let typed = form.take(&mut sent, "password", Text::key("field-label-password"));
    if form.is_valid() && typed.is_empty() {
        form.add_error("password", Text::key("password-missing"));
    }
    let password = Password::parse(&typed)
        .map_err(|too_long| form.add_error("password", too_long.to_string()));
    password.ok().filter(|_| form.is_valid()).map(Credential::Password)
}

/// Counts an attempt. The limit depends on what could be guessed: the password of an account is counted as a
/// sign-in, the password of a registration by its email; without a password only the IP address is counted.
/// In a session, the attempt is counted only if the session still exists.
async fn check(
    app: &App,
    page: &Page,
    visitor: &OptionalUser,
    link: Option<&Link>,
) -> Result<Permit, HttpError> {
    let request = page.request();
    let ip = auth::origin(request).ip_address;
    let requester = visitor.0.as_ref().map(|user| user.requester(request));
    let attempt = match (link, &requester) {
        (Some(Link::Account { email: Some(email), own: None, .. }), _) => {
            let device = known_device::find_for(request, app, Some(email)).await?;
            Attempt::of(Action::SignIn).email(Some(email)).known_device(device)
        }
        (Some(Link::Registration(pending)), _) => {
            Attempt::of(Action::Verify).account(Some(&pending.email_canonical))
        }
        (_, Some(requester)) => Attempt::of(Action::Verify).requester(requester),
        (_, None) => Attempt::of(Action::Verify),
    };
    Ok(attempt.ip(ip).check(&app.pool, &app.sealer).await?)
}

enum Outcome {
    Done(HttpResponse),
    WrongPassword,
    /// The link is no longer valid: it was used, expired or replaced.
    InvalidLink,
}

/// Creates the account of a registration, and signs in.
async fn register(
    app: &App,
    page: &Page,
    permit: &Permit,
    token: &Secret,
    pending: &PendingRegistration,
    password: &Password,
) -> Result<Outcome, HttpError> {
    let verify = app.hasher.verify(password, Some(&pending.password_hash));
    let verdict = permit.refund_on_error(verify).await?;
    if matches!(verdict, Verdict::NoMatch) {
        return Ok(Outcome::WrongPassword);
    }
    let origin = auth::origin(page.request());
    let finish = registration::finish_by_link(&app.pool, &app.hooks, token, origin);
    match permit.refund_on_error(finish).await? {
        RegistrationOutcome::Done { user, .. } => {
            sign_in_new_account(app, page, *user).await.map(Outcome::Done)
        }
        RegistrationOutcome::WrongCode
        | RegistrationOutcome::ExpiredCode
        | RegistrationOutcome::NotFound => Ok(Outcome::InvalidLink),
    }
}

/// Signs in the owner of a new account, whose password was entered in this browser. `user` is the inserted
/// account.
pub(super) async fn sign_in_new_account(
    app: &App,
    page: &Page,
    user: User,
) -> Result<HttpResponse, HttpError> {
    let email = user.email.clone();
    let factor = FirstFactor { user, method: "pwd" };
    let response = match auth::sign_in(page.request(), app, factor, false).await? {
        SignInOutcome::SignedIn(signed_in) => {
            let notice = Notice::good(Text::key("verify-email-welcome"));
            login::redirect_signed_in(page, app, signed_in, &page_path("/account"), Some(notice))
        }
        SignInOutcome::AccountChanged => login::show_account_changed(page, app, &email)?,
    };
    Ok(registration_cookie::clear(response, app))
}

/// Verifies an email of an existing account. `current`: the account's current email.
async fn confirm(
    app: &App,
    page: &Page,
    permit: &Permit,
    token: &Secret,
    pending: &PendingLink,
    current: Option<&EmailAddress>,
    credential: Credential,
) -> Result<Outcome, HttpError> {
    let request = page.request();
    let mut verified = None;
    let authorization = match credential {
        Credential::Session(user) => Authorization::Session(user.requester(request)),
        Credential::Password(password) => {
            let origin = auth::origin(request);
            let (pool, hasher) = (&app.pool, &app.hasher);
            match authenticate(pool, hasher, permit, current, &password, &origin).await? {
                Authentication::Accepted(user) if user.id == pending.user => {
                    let id = user.id;
                    verified = Some(user);
                    Authorization::Password { user: id, origin }
                }
                _ => return Ok(Outcome::WrongPassword),
            }
        }
    };
    let (pool, sealer) = (&app.pool, app.sealer.clone());
    let confirm =
        email::verification::confirm_by_link(pool, sealer, &app.hooks, authorization, token);
    let confirmed = permit.refund_on_error(confirm).await??;
    let ConfirmationOutcome::Done { user, email, secret, changed } = confirmed else {
        return Ok(Outcome::InvalidLink);
    };
    app.sessions.invalidate_user(user).await;
    let notice = Notice::email_confirmed(&email, changed);
    let next = &page_path("/account/email");
    match verified {
        Some(user) => {
            // The password is the one that was compared; the email is the one that this link has set.
            let user = if changed { User { email: email.clone(), ..user } } else { user };
            let factor = FirstFactor { user, method: "pwd" };
            match auth::sign_in(request, app, factor, false).await? {
                SignInOutcome::SignedIn(signed_in) => {
                    let notice = Some(notice);
                    let response = login::redirect_signed_in(page, app, signed_in, next, notice);
                    return Ok(Outcome::Done(response));
                }
                SignInOutcome::AccountChanged => {
                    return login::show_account_changed(page, app, &email).map(Outcome::Done);
                }
            }
        }
        None if changed => auth::rotate_cookie(request, secret),
        None => {}
    }
    Ok(Outcome::Done(page.redirect_with(next, &notice)))
}

async fn find(
    app: &App,
    visitor: &OptionalUser,
    token: Option<Secret>,
) -> Result<Option<(Secret, Link)>, HttpError> {
    let Some(token) = token else { return Ok(None) };
    if let Some(pending) = registration::find_by_token(&app.pool, &token).await? {
        return Ok(Some((token, Link::Registration(pending))));
    }
    let pending = email::token::find(&app.pool, &token).await?;
    let confirms = |pending: &PendingLink| {
        matches!(pending.purpose, Purpose::VerifyEmail | Purpose::ChangeEmail)
    };
    let Some(pending) = pending.filter(confirms) else { return Ok(None) };
    let owner = users::find(&app.pool, pending.user).await?;
    let email = owner.map(|owner| EmailAddress::stored(&owner.email));
    let own = visitor.0.clone().filter(|own| own.account.id == pending.user);
    Ok(Some((token, Link::Account { pending, email, own })))
}

fn data(app: &App, token: &Secret, link: &Link, form: FormView) -> Data {
    let sealed = VERIFY_EMAIL.seal(app, token);
    match link {
        Link::Registration(pending) => Data {
            form,
            link: sealed,
            email: pending.email.clone(),
            is_new: true,
            is_change: false,
            asks_password: true,
        },
        Link::Account { pending, own, .. } => Data {
            form,
            link: sealed,
            email: pending.email.clone(),
            is_new: false,
            is_change: pending.purpose == Purpose::ChangeEmail,
            asks_password: own.is_none(),
        },
    }
}
