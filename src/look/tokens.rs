//! The color tokens of a site in both color schemes: for mails, for `theme-color` and for the check of contrast.

use std::collections::BTreeMap;

use csscolorparser::Color;
use strsim::levenshtein;

use crate::config::ColorScheme;

use super::style_sheet::{Declaration, declarations};

/// Frontdesk's style sheet, whose tokens apply unless the site has others.
const OWN: &str = include_str!("../../static/frontdesk.css");
/// How many references `var()` one value may lead through.
const MAX_REFERENCES: usize = 100;
/// The longest value, in bytes.
const MAX_VALUE: usize = 500;
/// The tokens that are colors.
pub const COLORS: [&str; 15] = [
    "--fd-background",
    "--fd-surface",
    "--fd-text",
    "--fd-text-muted",
    "--fd-border",
    "--fd-control-border",
    "--fd-accent",
    "--fd-accent-strong",
    "--fd-on-accent",
    "--fd-accent-tint",
    "--fd-danger",
    "--fd-danger-strong",
    "--fd-danger-tint",
    "--fd-success",
    "--fd-success-tint",
];
/// The other tokens.
const OTHERS: [&str; 9] = [
    "--fd-radius",
    "--fd-shadow",
    "--fd-font-body",
    "--fd-font-heading",
    "--fd-size-s",
    "--fd-size-m",
    "--fd-size-l",
    "--fd-size-xl",
    "--fd-size-xxl",
];

/// One of the two color schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Dark text on a light background.
    Light,
    /// Light text on a dark background.
    Dark,
}

impl Scheme {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    /// Those that a site has.
    pub fn of(setting: ColorScheme) -> &'static [Self] {
        match setting {
            ColorScheme::Auto => &Self::ALL,
            ColorScheme::Light => &[Self::Light],
            ColorScheme::Dark => &[Self::Dark],
        }
    }

    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// A style sheet of the site: its path, for messages, and its text.
pub struct StyleSheet<'a> {
    /// For messages.
    pub path: String,
    /// The CSS.
    pub text: &'a str,
}

/// The value of a token in one color scheme.
#[derive(Clone, Debug)]
pub struct Token {
    /// The color. Frontdesk's if that of the site cannot be read.
    pub color: Color,
    /// Where the site sets it, as `site.css:3`; `None`: it is Frontdesk's.
    pub place: Option<String>,
}

/// All color tokens.
pub struct Tokens {
    by_name: BTreeMap<(Scheme, &'static str), Token>,
    /// Sentences about values that cannot be read, and about names that are no token.
    pub warnings: Vec<String>,
}

/// The declarations that apply in one color scheme, each with its place if it is the site's.
type Cascade = BTreeMap<String, (Declaration, Option<String>)>;

impl Tokens {
    /// Reads Frontdesk's style sheet and those of the site, in the order of their links.
    pub fn read(site: &[StyleSheet<'_>]) -> Self {
        let mut all: Vec<(Declaration, Option<String>)> =
            declarations(OWN, false).into_iter().map(|one| (one, None)).collect();
        for sheet in site {
            let found = declarations(sheet.text, true).into_iter();
            all.extend(found.map(|one| {
                let place = format!("{}:{}", sheet.path, one.line);
                (one, Some(place))
            }));
        }
        let mut tokens = Self { by_name: BTreeMap::new(), warnings: unknown_names(&all) };
        for scheme in Scheme::ALL {
            let own: Cascade = cascade(all.iter().filter(|(_, place)| place.is_none()), scheme);
            let all = cascade(all.iter(), scheme);
            for name in COLORS {
                tokens.add(name, scheme, &all, &own);
            }
        }
        tokens.warnings.dedup();
        tokens
    }

    fn add(&mut self, name: &'static str, scheme: Scheme, all: &Cascade, own: &Cascade) {
        let read = |cascade: &Cascade| {
            let (declaration, place) = cascade.get(name)?;
            let color = color(&declaration.value, scheme, cascade)?;
            Some(Token { color, place: place.clone() })
        };
        if let Some(token) = read(all) {
            self.by_name.insert((scheme, name), token);
            return;
        }
        if let Some((Declaration { value, .. }, Some(place))) = all.get(name) {
            let value: String = value.chars().take(60).collect();
            self.warnings.push(format!(
                "{place}: the color “{value}” of {name} cannot be read, so mails keep Frontdesk's, and its contrast is not checked. Write it as oklch(), rgb() or #rrggbb."
            ));
        }
        if let Some(token) = read(own) {
            self.by_name.insert((scheme, name), token);
        }
    }

    /// The token `name` of [`COLORS`].
    pub fn get(&self, name: &str, scheme: Scheme) -> Option<&Token> {
        let name = COLORS.iter().find(|color| **color == name)?;
        self.by_name.get(&(scheme, *name))
    }
}

/// The declarations that win in `scheme`, by name.
fn cascade<'a>(
    all: impl Iterator<Item = &'a (Declaration, Option<String>)>,
    scheme: Scheme,
) -> Cascade {
    let mut found = Cascade::new();
    for (declaration, place) in all {
        let [light, dark] = declaration.schemes;
        let applies = if scheme == Scheme::Light { light } else { dark };
        let is_weaker =
            found.get(&declaration.name).is_some_and(|(other, _)| other.rank > declaration.rank);
        if applies && !is_weaker {
            found.insert(declaration.name.clone(), (declaration.clone(), place.clone()));
        }
    }
    found
}

fn unknown_names(all: &[(Declaration, Option<String>)]) -> Vec<String> {
    let known = || COLORS.into_iter().chain(OTHERS);
    let of_site = all.iter().filter_map(|(one, place)| Some((one.name.as_str(), place.as_ref()?)));
    of_site
        .filter(|(name, _)| name.starts_with("--fd-") && !known().any(|token| token == *name))
        .map(|(name, place)| {
            let nearest = known().min_by_key(|token| levenshtein(name, token));
            let hint = nearest.filter(|token| levenshtein(name, token) <= 4);
            let hint = hint.map_or_else(String::new, |token| format!(" Did you mean {token}?"));
            format!("{place}: {name} is no token of Frontdesk, so it changes nothing.{hint}")
        })
        .collect()
}

/// The color that `value` is, if it can be computed.
fn color(value: &str, scheme: Scheme, cascade: &Cascade) -> Option<Color> {
    let value = substituted(value, cascade, &mut MAX_REFERENCES.clone())?;
    let mut value = value.trim();
    if let Some(both) = function(value, "light-dark") {
        let (light, dark) = both.split_at(comma(both)?);
        value = if scheme == Scheme::Light { light } else { &dark[1..] }.trim();
    }
    let value = match value.to_ascii_lowercase().as_str() {
        "white" => "#fff",
        "black" => "#000",
        // The parser takes digits without `#`, which is no color in CSS.
        _ if value.starts_with('#') || value.ends_with(')') => value,
        _ => return None,
    };
    let Color { r, g, b, a } = csscolorparser::parse(value).ok()?;
    let part = |part: f32| part.is_finite().then(|| part.clamp(0.0, 1.0));
    Some(Color { r: part(r)?, g: part(g)?, b: part(b)?, a: part(a)? })
}

/// The value with the properties that `var()` refers to. Each takes one of `left`, so that properties that refer to
/// each other come to an end.
fn substituted(value: &str, cascade: &Cascade, left: &mut usize) -> Option<String> {
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("var(") {
        *left = left.checked_sub(1)?;
        out.push_str(&rest[..at]);
        let length = closing(&rest[at..])?;
        let inside = &rest[at + "var(".len()..at + length];
        let (name, fallback) = match comma(inside) {
            Some(at) => (inside[..at].trim(), Some(&inside[at + 1..])),
            None => (inside.trim(), None),
        };
        let value = match cascade.get(name) {
            Some((declaration, _)) => declaration.value.as_str(),
            None => fallback?,
        };
        out.push_str(&substituted(value, cascade, left)?);
        rest = &rest[at + length + 1..];
    }
    out.push_str(rest);
    (out.len() <= MAX_VALUE).then_some(out)
}

/// The arguments, if `value` is a call of the function `name`.
fn function<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let call = value.strip_prefix(name)?;
    call.strip_prefix('(')?.strip_suffix(')').filter(|_| closing(call) == Some(call.len() - 1))
}

/// Where the parenthesis that the text opens first is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The first comma outside of parentheses.
fn comma(text: &str) -> Option<usize> {
    let mut depth = 0_i32;
    text.char_indices().find_map(|(at, letter)| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => return Some(at),
            _ => {}
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(css: &str) -> Tokens {
        Tokens::read(&[StyleSheet { path: "site.css".to_owned(), text: css }])
    }

    fn hex(tokens: &Tokens, name: &str, scheme: Scheme) -> String {
        tokens.get(name, scheme).unwrap().color.to_css_hex().to_string()
    }

    #[test]
    fn every_color_of_frontdesk_is_read_in_both_schemes() {
        let tokens = Tokens::read(&[]);
        assert!(tokens.warnings.is_empty());
        for scheme in Scheme::ALL {
            for name in COLORS {
                assert!(tokens.get(name, scheme).is_some(), "{name} {}", scheme.name());
            }
        }
        assert_eq!(hex(&tokens, "--fd-surface", Scheme::Light), "#ffffff");
        assert_eq!(hex(&tokens, "--fd-background", Scheme::Dark), "#111419");
        let declared = declarations(OWN, false);
        for token in COLORS.into_iter().chain(OTHERS) {
            assert!(declared.iter().any(|one| one.name == token), "{token}");
        }
        let unknown = declared.iter().find(|one| {
            !COLORS.contains(&one.name.as_str()) && !OTHERS.contains(&one.name.as_str())
        });
        assert!(unknown.is_none(), "{unknown:?}");
    }

    #[test]
    fn values_are_read_in_every_notation() {
        for (value, light, dark) in [
            ("#c00", "#cc0000", "#cc0000"),
            ("#CC0000ff", "#cc0000", "#cc0000"),
            ("rgb(204 0 0)", "#cc0000", "#cc0000"),
            ("rgba(204, 0, 0, 1)", "#cc0000", "#cc0000"),
            ("oklch(100% 0 0)", "#ffffff", "#ffffff"),
            ("oklch(1 0 none)", "#ffffff", "#ffffff"),
            ("White", "#ffffff", "#ffffff"),
            ("var(--brand)", "#123456", "#654321"),
            ("var( --nothing , rgb(1, 2, 3))", "#010203", "#010203"),
            ("light-dark(#fff, rgb(0, 0, 0))", "#ffffff", "#000000"),
        ] {
            let css = format!(
                ":root {{ --brand: #123456; --fd-accent: {value} }} @media (prefers-color-scheme: dark) {{ :root {{ --brand: #654321 }} }}"
            );
            let tokens = read(&css);
            assert!(tokens.warnings.is_empty(), "{:?}", tokens.warnings);
            let found = Scheme::ALL.map(|scheme| hex(&tokens, "--fd-accent", scheme));
            assert_eq!(found, [light, dark], "{value}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_is_a_warning_and_keeps_our_color() {
        let own = hex(&Tokens::read(&[]), "--fd-accent", Scheme::Light);
        for value in [
            "color-mix(in oklch, red, blue)",
            "fff",
            "rebeccapurple",
            "var(--nothing)",
            "var(--fd-accent)",
            "var(--loop)",
            "rgb(nan 0 0)",
            "oklch(",
            "",
            "light-dark(#fff)",
        ] {
            let tokens = read(&format!(
                "\n:root {{ --loop: var(--loop) var(--loop);\n--fd-accent: {value}; }}"
            ));
            assert_eq!(tokens.warnings.len(), 1, "{value}: {:?}", tokens.warnings);
            assert!(
                tokens.warnings[0].starts_with("site.css:3: the color"),
                "{:?}",
                tokens.warnings
            );
            assert_eq!(hex(&tokens, "--fd-accent", Scheme::Light), own, "{value}");
        }
        let misspelled = read(":root { --fd-acent: red; --own: 1 }").warnings;
        assert_eq!(misspelled.len(), 1, "{misspelled:?}");
        assert!(misspelled[0].contains("site.css:1: --fd-acent is no token"), "{misspelled:?}");
        assert!(misspelled[0].ends_with("Did you mean --fd-accent?"), "{misspelled:?}");
    }

    #[test]
    fn the_rule_that_wins_in_a_browser_is_read() {
        let tokens = read(
            "@layer site { :root { --fd-text: #111111; --fd-accent: #222222 } }\n\
             :root { --fd-accent: #333333 }\n\
             @layer late { html { --fd-accent: #444444 } }",
        );
        for scheme in Scheme::ALL {
            assert_eq!(hex(&tokens, "--fd-text", scheme), "#111111");
            assert_eq!(hex(&tokens, "--fd-accent", scheme), "#333333");
        }
        let place = &tokens.get("--fd-accent", Scheme::Dark).unwrap().place;
        assert_eq!(place.as_deref(), Some("site.css:2"));
    }
}
