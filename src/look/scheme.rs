//! Style sheets of a site that has one color scheme only.

use crate::config::ColorScheme;

/// Media features that are true and false in every browser.
const ALWAYS: &str = "(min-width: 0)";
const NEVER: &str = "(max-width: 0)";
const FEATURE: &str = "prefers-color-scheme";

/// The style sheet in which the conditions `(prefers-color-scheme: …)` are replaced as `scheme` says. With
/// [`ColorScheme::Auto`], they stay.
pub fn with_fixed_scheme(css: &str, scheme: ColorScheme) -> String {
    let wanted = match scheme {
        ColorScheme::Auto => return css.to_owned(),
        ColorScheme::Light => "light",
        ColorScheme::Dark => "dark",
    };
    let mut out = String::with_capacity(css.len());
    let mut rest = css;
    while let Some(start) = rest.find('(') {
        let (before, condition) = rest.split_at(start);
        out.push_str(before);
        let length = condition.find(')').map_or(condition.len(), |end| end + 1);
        match preferred(&condition[..length]) {
            Some(preferred) => {
                out.push_str(if preferred == wanted { ALWAYS } else { NEVER });
                rest = &condition[length..];
            }
            None => {
                out.push('(');
                rest = &condition[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// `dark` for `(prefers-color-scheme: dark)`.
pub(super) fn preferred(condition: &str) -> Option<String> {
    let inside = condition.strip_prefix('(')?.strip_suffix(')')?.to_ascii_lowercase();
    let (name, value) = inside.split_once(':')?;
    (name.trim() == FEATURE).then(|| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_scheme_decides_every_condition() {
        let css = "@media screen and (Prefers-Color-Scheme:DARK) { a { b: url(x) } } @media not (prefers-color-scheme : light) {} (";
        assert_eq!(with_fixed_scheme(css, ColorScheme::Auto), css);
        assert_eq!(
            with_fixed_scheme(css, ColorScheme::Dark),
            "@media screen and (min-width: 0) { a { b: url(x) } } @media not (max-width: 0) {} ("
        );
        assert_eq!(
            with_fixed_scheme(css, ColorScheme::Light),
            "@media screen and (max-width: 0) { a { b: url(x) } } @media not (min-width: 0) {} ("
        );
    }
}
