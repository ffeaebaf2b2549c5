//! Pages of a site.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use futures_util::future::{Ready, ready};
use serde::Serialize;
use serde_json::Value;

use super::error::{Error, PageResult};
use super::form::FormView;
use crate::language::Text;
use crate::web::flash;
use crate::web::page;

/// Renders the templates of the site and of Frontdesk, and redirects.
///
/// Every page has these values besides those that the handler passes, and they win over a field of the same name: `site`,
/// `viewer`, `path`, `notice`, `navigation`, `is_site_page`, `lang` and `languages` (docs/TEMPLATES.md).
///
/// ```
/// use frontdesk::{Page, PageResult};
/// use serde_json::json;
///
/// async fn about(page: Page) -> PageResult {
///     page.render("about.html", &json!({ "founded": 1843 }))
/// }
/// ```
pub struct Page(page::Page);

impl Page {
    /// 200 with the template `name`. `data` is a map or a struct, whose fields the template sees by name.
    pub fn render(&self, name: &str, data: &impl Serialize) -> PageResult {
        self.render_with(StatusCode::OK, name, data)
    }

    /// Like [`Page::render`], with the form as the value `form`: 422 if it has errors, otherwise 200.
    pub fn render_form(&self, name: &str, form: &FormView, data: &impl Serialize) -> PageResult {
        let is_valid = form.is_valid();
        let status = if is_valid { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let Value::Object(mut values) = serde_json::to_value(data)? else {
            return Err(Error::internal("the data of a page must be a map or a struct"));
        };
        values.insert("form".to_owned(), serde_json::to_value(form)?);
        self.render_with(status, name, &values)
    }

    /// Like [`Page::render`], with another status.
    pub fn render_with(&self, status: StatusCode, name: &str, data: &impl Serialize) -> PageResult {
        self.0.show_with(status, name, data).map_err(Error::of)
    }

    /// The message with this key, such as `note-added` of the site's `locales/en/site.ftl`. For one with variables, there
    /// is [`Text`].
    pub fn text(&self, key: &str) -> String {
        Text::key(key.to_owned()).to_string()
    }

    /// 303 to `path` of this site: after a form, so that a reload does not send it again.
    pub fn redirect(&self, path: &str) -> HttpResponse {
        self.0.redirect(path)
    }

    /// Like [`Page::redirect`]. The next page shows `notice` once.
    pub fn redirect_with(&self, path: &str, notice: Notice) -> HttpResponse {
        self.0.redirect_with(path, &notice.0)
    }
}

impl FromRequest for Page {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let page = page::Page::from_request(request, payload).into_inner();
        ready(page.map(|page| Self(page.of_site())).map_err(Error::of))
    }
}

/// One sentence about the last action, which the next page shows once. It is kept in a sealed cookie for a minute.
///
/// ```
/// let notice = frontdesk::Notice::success("Note added.");
/// ```
#[derive(Clone, Debug)]
pub struct Notice(flash::Notice);

impl Notice {
    /// The action was successful.
    pub fn success(text: impl Into<Text>) -> Self {
        Self(flash::Notice::good(text))
    }

    /// Something worth knowing.
    pub fn info(text: impl Into<Text>) -> Self {
        Self(flash::Notice::info(text))
    }

    /// The action did not have the result that the user expects.
    pub fn warning(text: impl Into<Text>) -> Self {
        Self(flash::Notice::danger(text))
    }
}
