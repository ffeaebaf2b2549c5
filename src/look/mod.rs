//! What the operator's files and settings change in the look of pages and mails.

mod scheme;

use serde::Serialize;

use crate::config::ColorScheme;

pub use scheme::with_fixed_scheme;

/// What the layouts know of the look, as the value `look`.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    /// The value of `color-scheme` in HTML.
    color_scheme: &'static str,
    /// The URL of the site's style sheet, if it has one.
    style_sheet: Option<String>,
    /// The URL of the site's logo, if it has one.
    logo: Option<String>,
}

impl Look {
    /// The look of a site. `url` returns the URL of a file in `static/`.
    pub fn new(scheme: ColorScheme, url: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            color_scheme: match scheme {
                ColorScheme::Auto => "light dark",
                ColorScheme::Light => "light",
                ColorScheme::Dark => "dark",
            },
            style_sheet: url("site.css"),
            logo: url("logo.svg").or_else(|| url("logo.png")),
        }
    }
}
