//! The templates of pages, and the values that every page has (docs/TEMPLATES.md).

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tera::Context;
use uuid::Uuid;

use super::error::HttpError;
use super::flash::Notice;
use crate::language::{self, ENGLISH};
use crate::templates::{Layers, LoadedTemplates, MailTemplates, Sample, Templates, samples};

/// The values of every page that are the same for all requests: they are in the global context of the templates.
const SHARED: [&str; 5] = ["site", "look", "lang", "languages", "lifetimes"];
/// The values of every page that differ from request to request.
const OF_REQUEST: [&str; 7] =
    ["path", "section", "viewer", "notice", "navigation", "is_site_page", "form_token"];

/// The target of log events with the names of a page's values.
const FIELDS: &str = "frontdesk::fields";

/// The signed-in user, for the header of the page.
#[derive(Clone, Debug, Serialize)]
pub struct Viewer {
    /// The id of their account.
    #[serde(skip)]
    pub account: Uuid,
    /// The public id of their session.
    #[serde(skip)]
    pub session: Uuid,
    /// Their name.
    pub display_name: String,
    /// Their email.
    pub email: String,
    /// The names of the groups that they are a member of.
    pub groups: Vec<String>,
}

/// An entry of the site's navigation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NavigationEntry {
    /// What it is called.
    pub label: String,
    /// Where it leads.
    pub path: String,
}

/// The values of every page that belong to one request.
pub(super) struct PageContext<'a> {
    pub(super) path: &'a str,
    pub(super) viewer: Option<&'a Viewer>,
    pub(super) notice: Option<&'a Notice>,
    /// The hidden field of the forms; empty on error pages, which only have the form that signs out.
    pub(super) form_token: &'a str,
    /// Whether a handler of the site answers with it.
    pub(super) is_site_page: bool,
}

impl PageContext<'_> {
    fn values(&self, navigation: &[NavigationEntry]) -> Context {
        let link = |entry: &NavigationEntry| {
            json!({
                "label": entry.label,
                "path": entry.path,
                "is_current": entry.path == self.path,
            })
        };
        let mut values = Context::new();
        values.insert("path", self.path);
        values.insert("section", &section(self.path));
        values.insert("viewer", &self.viewer);
        values.insert("notice", &self.notice);
        values.insert("navigation", &navigation.iter().map(link).collect::<Vec<_>>());
        values.insert("is_site_page", &self.is_site_page);
        values.insert("form_token", self.form_token);
        values
    }
}

/// The templates of pages.
pub struct PageTemplates {
    templates: Arc<Templates>,
    navigation: Vec<NavigationEntry>,
    /// A value of a handler that is replaced is a warning in the log, and a template that fails is explained.
    is_development: bool,
}

impl PageTemplates {
    /// With templates that have [`PageTemplates::globals`], `site` and `look` as their global values.
    pub fn new(
        templates: Arc<Templates>,
        navigation: Vec<NavigationEntry>,
        is_development: bool,
    ) -> Self {
        Self { templates, navigation, is_development }
    }

    /// Values that are the same on every page of every site.
    pub fn globals() -> Context {
        let mut globals = Context::new();
        globals.insert("lang", ENGLISH);
        let english = json!({ "code": ENGLISH, "label": "English", "is_current": true });
        globals.insert("languages", &[english]);
        globals
    }

    /// All samples.
    pub fn samples(&self) -> Vec<Sample> {
        samples(&self.templates.current().layers)
    }

    /// The page of a sample, or the mail in HTML.
    pub fn show_sample(&self, sample: &Sample) -> Result<String, HttpError> {
        let templates = self.usable()?;
        let html = if sample.is_mail() {
            let mails = MailTemplates::new(Arc::clone(&self.templates));
            mails.render_sample(sample).map(|[_, _, html]| html)
        } else {
            self.render_sample(sample)
        };
        html.map_err(|error| self.failed(&templates, &sample.page, error))
    }

    /// Renders the page of a sample.
    pub fn render_sample(&self, sample: &Sample) -> tera::TeraResult<String> {
        let text = |name: &str| sample.values.get(name).and_then(Value::as_str).unwrap_or_default();
        let common = PageContext {
            path: text("path"),
            viewer: None,
            notice: None,
            form_token: "sample",
            is_site_page: !Layers::is_own(&sample.page),
        };
        let templates = self.templates.current();
        let _language = language::enter(&templates.catalog);
        let mut context = common.values(&self.navigation);
        context.extend(Context::from_serialize(&sample.values)?);
        templates.tera.render(&sample.page, &context)
    }

    /// Renders `template` of `templates` with `data` and the values that every page has. The latter win over fields of
    /// `data` with the same name.
    pub(super) fn render(
        &self,
        templates: &LoadedTemplates,
        template: &str,
        common: &PageContext<'_>,
        data: &impl Serialize,
    ) -> Result<String, HttpError> {
        let _language = language::enter(&templates.catalog);
        let render = || {
            let mut context = Context::from_serialize(data)?;
            trace_fields(template, data);
            if self.is_development {
                for name in SHARED.iter().chain(&OF_REQUEST).filter(|it| context.contains_key(it)) {
                    tracing::warn!(
                        template,
                        "the field {name} of the page is replaced by the value {name} of every page: rename the field"
                    );
                }
            }
            for name in SHARED {
                context.remove(name);
            }
            context.extend(common.values(&self.navigation));
            templates.tera.render(template, &context)
        };
        render().map_err(|error| self.failed(templates, template, error))
    }

    /// The templates for an error page: the last ones without problems.
    pub(super) fn current(&self) -> Arc<LoadedTemplates> {
        self.templates.current()
    }

    /// The templates for a page. In development, the error says what is wrong with one that was changed.
    pub(super) fn usable(&self) -> Result<Arc<LoadedTemplates>, HttpError> {
        let templates = self.current();
        match templates.problems.is_empty() {
            true => Ok(templates),
            false => Err(HttpError::BrokenTemplate(templates.problems.join(" "))),
        }
    }

    fn failed(&self, templates: &LoadedTemplates, template: &str, error: tera::Error) -> HttpError {
        if self.is_development {
            return HttpError::BrokenTemplate(templates.explain(&error));
        }
        HttpError::Internal(anyhow::Error::new(error).context(template.to_owned()))
    }
}

/// The names of the values that the template gets, for the test that compares them with the samples.
fn trace_fields(template: &str, data: &impl Serialize) {
    if tracing::enabled!(target: FIELDS, tracing::Level::TRACE)
        && let Ok(Value::Object(fields)) = serde_json::to_value(data)
    {
        let fields = fields.keys().map(String::as_str).collect::<Vec<_>>().join(",");
        tracing::trace!(target: FIELDS, "the template {template} gets {fields}");
    }
}

/// The page of the account navigation that `path` belongs to: itself or the one above it. Empty for other paths.
fn section(path: &str) -> String {
    let mut segments = path.split('/').skip(1);
    match (segments.next(), segments.next()) {
        (Some("account"), Some("delete")) => "/account/export".to_owned(),
        (Some("account"), Some(name)) => format!("/account/{name}"),
        (Some("account"), None) => path.to_owned(),
        _ => String::new(),
    }
}
