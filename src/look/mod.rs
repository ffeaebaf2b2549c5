//! What the operator's files and settings change in the look of pages and mails.

pub mod contrast;
mod scheme;
mod style_sheet;
mod tokens;

use std::collections::BTreeMap;

use csscolorparser::Color;
use serde::Serialize;

use crate::config::ColorScheme;

pub use scheme::with_fixed_scheme;
pub use tokens::{COLORS, Scheme, StyleSheet, Token, Tokens};

/// What the layouts of pages and mails know of the look, as the value `look`.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    /// The value of `color-scheme` in HTML.
    color_scheme: &'static str,
    /// The colors, light ones unless the site is dark only.
    base: Palette,
    /// The colors for browsers that prefer dark ones, if the site has both.
    dark: Option<Palette>,
    /// The URL of the site's style sheet, if it has one.
    style_sheet: Option<String>,
    /// The URL of the site's logo, if it has one.
    logo: Option<String>,
}

/// The color tokens as `#rrggbb`, by their name: `text_muted` for `--fd-text-muted`.
type Palette = BTreeMap<String, String>;

impl Look {
    /// The look of a site. `url` returns the URL of a file in `static/`.
    pub fn new(tokens: &Tokens, scheme: ColorScheme, url: impl Fn(&str) -> Option<String>) -> Self {
        let (color_scheme, base, dark) = match scheme {
            ColorScheme::Auto => ("light dark", Scheme::Light, Some(Scheme::Dark)),
            ColorScheme::Light => ("light", Scheme::Light, None),
            ColorScheme::Dark => ("dark", Scheme::Dark, None),
        };
        Self {
            color_scheme,
            base: palette(tokens, base),
            dark: dark.map(|dark| palette(tokens, dark)),
            style_sheet: url("site.css"),
            logo: url("logo.svg").or_else(|| url("logo.png")),
        }
    }
}

impl Default for Look {
    /// The look of Frontdesk itself.
    fn default() -> Self {
        Self::new(&Tokens::read(&[]), ColorScheme::Auto, |_| None)
    }
}

/// Mail clients know neither variables nor translucent colors.
fn palette(tokens: &Tokens, scheme: Scheme) -> Palette {
    let white = Color::new(1.0, 1.0, 1.0, 1.0);
    let page = tokens.get("--fd-background", scheme);
    let page = page.map_or(white, |token| contrast::over(&token.color, &white));
    let hex = |name: &str| {
        let opaque = contrast::over(&tokens.get(name, scheme)?.color, &page);
        Some((name.strip_prefix("--fd-")?.replace('-', "_"), opaque.to_css_hex().to_string()))
    };
    COLORS.into_iter().filter_map(hex).collect()
}
