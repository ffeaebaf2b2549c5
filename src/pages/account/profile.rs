//! `GET`, `POST /account/profile`: the display name.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::auth::CurrentUser;
use crate::language::Text;
use crate::paths::page_path;
use crate::user::display_name::DisplayName;
use crate::user::users;
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

const TEMPLATE: &str = "account/profile.html";

#[derive(Serialize)]
struct Data {
    form: FormView,
    email: String,
}

/// `GET /account/profile`.
#[tracing::instrument(name = "profile_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(page: Page, user: CurrentUser) -> Result<HttpResponse, HttpError> {
    let form = FormView::with_values([("display_name", &user.account.display_name)]);
    page.show(TEMPLATE, &Data { form, email: user.account.email.clone() })
}

/// `POST /account/profile`.
#[tracing::instrument(name = "change_profile", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let typed = form.take(&mut sent, "display_name", Text::key("field-label-name"));
    form.values.insert("display_name", typed.clone());
    let name = match DisplayName::parse(&typed) {
        Ok(name) => name,
        Err(problem) => {
            form.add_error("display_name", problem.to_string());
            let data = Data { form, email: user.account.email.clone() };
            return page.show_refused(TEMPLATE, &data);
        }
    };
    let notice = Notice::good_about(Text::key("profile-saved"), "name", name.as_str());
    let requester = user.requester(page.request());
    users::set_display_name(&app.pool, &requester, name).await??;
    app.sessions.invalidate_user(requester.user).await;
    Ok(page.redirect_with(&page_path("/account/profile"), &notice))
}
