//! The contrast of text, controls and focus against what is behind them (WCAG 2.2, 1.4.3 and 1.4.11).

use csscolorparser::Color;

use super::tokens::{Scheme, Token, Tokens};

const TEXT: f32 = 4.5;
const CONTROL: f32 = 3.0;

/// Which colors stand on which in `static/frontdesk.css`, and the contrast that they need.
const PAIRS: [(&str, &str, f32); 26] = [
    ("--fd-text", "--fd-background", TEXT),
    ("--fd-text", "--fd-surface", TEXT),
    ("--fd-text", "--fd-accent-tint", TEXT),
    ("--fd-text", "--fd-danger-tint", TEXT),
    ("--fd-text", "--fd-success-tint", TEXT),
    ("--fd-text-muted", "--fd-background", TEXT),
    ("--fd-text-muted", "--fd-surface", TEXT),
    ("--fd-accent", "--fd-background", TEXT),
    ("--fd-accent", "--fd-surface", TEXT),
    ("--fd-accent-strong", "--fd-background", TEXT),
    ("--fd-accent-strong", "--fd-surface", TEXT),
    ("--fd-accent-strong", "--fd-accent-tint", TEXT),
    ("--fd-on-accent", "--fd-accent", TEXT),
    ("--fd-on-accent", "--fd-accent-strong", TEXT),
    ("--fd-danger", "--fd-background", TEXT),
    ("--fd-danger", "--fd-surface", TEXT),
    ("--fd-danger-strong", "--fd-danger-tint", TEXT),
    ("--fd-surface", "--fd-danger", TEXT),
    ("--fd-surface", "--fd-danger-strong", TEXT),
    ("--fd-control-border", "--fd-background", CONTROL),
    ("--fd-control-border", "--fd-surface", CONTROL),
    ("--fd-accent", "--fd-accent-tint", CONTROL),
    ("--fd-danger", "--fd-danger-tint", CONTROL),
    ("--fd-success", "--fd-background", CONTROL),
    ("--fd-success", "--fd-surface", CONTROL),
    ("--fd-success", "--fd-success-tint", CONTROL),
];

/// The pairs with too little contrast in the color schemes of the site, as sentences with file and line.
pub fn problems(tokens: &Tokens, schemes: &[Scheme]) -> Vec<String> {
    let mut found = Vec::new();
    for scheme in schemes {
        for (name, behind_name, needed) in PAIRS {
            let Some((token, behind, ratio)) = pair(tokens, *scheme, name, behind_name) else {
                continue;
            };
            if ratio >= needed {
                continue;
            }
            let place = token.place.as_ref().or(behind.place.as_ref());
            let place = place.map_or("static/frontdesk.css", String::as_str);
            let other = match (&token.place, &behind.place) {
                (Some(_), Some(other)) => format!(", {other}"),
                _ => String::new(),
            };
            found.push(format!(
                "{place}: in the {} scheme, {name} ({}) on {behind_name} ({}{other}) has a contrast of {}:1. {}",
                scheme.name(),
                token.color.to_css_hex(),
                behind.color.to_css_hex(),
                // Rounded down, so that 4.499 is not 4.50.
                (ratio * 100.0).floor() / 100.0,
                if needed == TEXT { "Text needs 4.5:1." } else { "Controls and focus need 3:1." },
            ));
        }
    }
    found
}

/// Both tokens of a pair and their contrast.
fn pair<'a>(
    tokens: &'a Tokens,
    scheme: Scheme,
    name: &str,
    behind: &str,
) -> Option<(&'a Token, &'a Token, f32)> {
    let page = tokens.get("--fd-background", scheme)?;
    let (token, behind) = (tokens.get(name, scheme)?, tokens.get(behind, scheme)?);
    let back = over(&behind.color, &over(&page.color, &Color::new(1.0, 1.0, 1.0, 1.0)));
    let front = over(&token.color, &back);
    let (front, back) = (luminance(&front), luminance(&back));
    Some((token, behind, (front.max(back) + 0.05) / (front.min(back) + 0.05)))
}

/// What one sees of a translucent color in front of an opaque one.
pub(super) fn over(front: &Color, back: &Color) -> Color {
    let mix = |front_part: f32, back_part: f32| front_part * front.a + back_part * (1.0 - front.a);
    Color::new(mix(front.r, back.r), mix(front.g, back.g), mix(front.b, back.b), 1.0)
}

/// The relative luminance (WCAG 2.2).
fn luminance(color: &Color) -> f32 {
    let [red, green, blue, _] = color.to_linear_rgba();
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::StyleSheet;

    fn found(css: &str) -> Vec<String> {
        let sheet = StyleSheet { path: "static/site.css".to_owned(), text: css };
        problems(&Tokens::read(&[sheet]), &Scheme::ALL)
    }

    #[test]
    fn our_text_has_a_contrast_of_7_and_our_controls_of_3() {
        let tokens = Tokens::read(&[]);
        for scheme in Scheme::ALL {
            for (name, behind, needed) in PAIRS {
                let (.., ratio) = pair(&tokens, scheme, name, behind).unwrap();
                let needed = if needed == TEXT { 7.0 } else { CONTROL };
                assert!(ratio >= needed, "{name} on {behind}, {}: {ratio}", scheme.name());
            }
        }
    }

    #[test]
    fn known_contrasts_are_computed() {
        for (text, expected) in
            [("#767676", 4.54), ("#777777", 4.47), ("#000", 21.0), ("#fff", 1.0)]
        {
            let css = format!(":root {{ --fd-background: #fff; --fd-text: {text} }}");
            let tokens = Tokens::read(&[StyleSheet { path: String::new(), text: &css }]);
            let (.., ratio) = pair(&tokens, Scheme::Light, "--fd-text", "--fd-background").unwrap();
            assert!((ratio - expected).abs() < 0.01, "{text}: {ratio}");
        }
    }

    #[test]
    fn a_pair_below_the_minimum_is_named_with_file_and_line() {
        let problems =
            found("@media (prefers-color-scheme: light) {\n:root { --fd-text-muted: #999 }\n}");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with(
            "static/site.css:2: in the light scheme, --fd-text-muted (#999999) on --fd-background ("
        ));
        assert!(problems[0].contains("has a contrast of 2.7"), "{problems:?}");
        assert!(problems[0].ends_with(":1. Text needs 4.5:1."));
        // A background of the site behind our text.
        let problems = found("\n\n:root { --fd-background: black }");
        assert!(
            problems.iter().all(|problem| problem.starts_with("static/site.css:3: in the light"))
        );
        assert!(problems.iter().any(|problem| problem.contains("--fd-text (")), "{problems:?}");
        let border = found(":root { --fd-control-border: rgb(255 255 255 / 0.1) }");
        assert!(border.iter().all(|problem| problem.contains("Controls and focus need 3:1")));
        assert!(border.len() >= 2, "{border:?}");
    }
}
