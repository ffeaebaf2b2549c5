//! `GET`, `POST /account/profile`: what pages call you.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::auth::CurrentUser;
use crate::user::display_name::DisplayName;
use crate::user::users;
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

#[derive(Serialize)]
struct Data {
    form: FormView,
    email: String,
}

/// `GET /account/profile`.
pub async fn show(page: Page, user: CurrentUser) -> Result<HttpResponse, HttpError> {
    let form = FormView::with_values([("display_name", &user.account.display_name)]);
    page.show("account/profile.html", &Data { form, email: user.account.email.clone() })
}

/// `POST /account/profile`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let display_name = form.take(&mut sent, "display_name", "Your name");
    form.values.insert("display_name", display_name.clone());
    match DisplayName::parse(&display_name) {
        Err(problem) => form.add_error("display_name", problem.to_string()),
        Ok(name) => {
            let notice = Notice::good(format!("Your name is now {}.", name.as_str()));
            let requester = user.requester(page.request());
            users::set_display_name(&app.pool, &requester, name).await??;
            app.sessions.invalidate_user(requester.user).await;
            return Ok(page.redirect_with("/account/profile", &notice));
        }
    }
    page.show_refused("account/profile.html", &Data { form, email: user.account.email.clone() })
}
