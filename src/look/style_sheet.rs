//! Reads the custom properties of `:root` from a style sheet. It knows as much of CSS as that takes: comments, strings,
//! blocks, `@media (prefers-color-scheme: …)` and `@layer`. Rules for other selectors and conditions are skipped.

use super::scheme::preferred;

/// The declaration of a custom property for the whole page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declaration {
    /// With its two hyphens.
    pub(super) name: String,
    pub(super) value: String,
    /// From 1.
    pub(super) line: usize,
    /// The color schemes it applies to: light and dark.
    pub(super) schemes: [bool; 2],
    /// The declaration with the highest one applies; of several, the last one.
    pub(super) rank: Rank,
}

/// The order of the cascade (CSS Cascading and Inheritance Level 5, 6): importance, rules outside of layers before those
/// in layers (for important ones the other way round), the layers of the site before those of Frontdesk, specificity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    is_important: bool,
    is_strong_layer: bool,
    is_site: bool,
    is_root: bool,
}

/// What surrounds a position in the style sheet.
#[derive(Clone, Copy)]
struct Block {
    /// Whether rules in it may be read: its conditions are known.
    is_known: bool,
    /// `:root` or `html`, and whether it is the former.
    root: Option<bool>,
    schemes: [bool; 2],
    is_layered: bool,
    is_site: bool,
}

/// All declarations, in their order. `is_site`: the style sheet is not Frontdesk's.
pub(super) fn declarations(css: &str, is_site: bool) -> Vec<Declaration> {
    let css = without_comments(css);
    let schemes = [true; 2];
    let top = Block { is_known: true, root: None, schemes, is_layered: false, is_site };
    let (mut found, mut open) = (Vec::new(), vec![top]);
    let (mut start, mut parentheses) = (0, 0_usize);
    let mut letters = css.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '"' | '\'' => skip_string(&mut letters, letter),
            '(' => parentheses += 1,
            ')' => parentheses = parentheses.saturating_sub(1),
            ';' if parentheses > 0 => {}
            ';' | '{' | '}' => {
                let block = open.last().copied().unwrap_or(top);
                let text = &css[start..at];
                match letter {
                    '{' => open.push(block.inner(text.trim())),
                    _ => found.extend(block.declaration(&css, start, text)),
                }
                if letter == '}' && open.len() > 1 {
                    open.pop();
                }
                (start, parentheses) = (at + 1, 0);
            }
            _ => {}
        }
    }
    found
}

/// Replaces comments by spaces; line breaks stay.
fn without_comments(css: &str) -> String {
    let mut out = String::with_capacity(css.len());
    let mut rest = css;
    while let Some(at) = rest.find(['"', '\'', '/', '\\']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let length = match found.as_bytes() {
            [b'/', b'*', ..] => {
                let length = found[2..].find("*/").map_or(found.len(), |end| end + 4);
                out.extend(found[..length].chars().map(|one| if one == '\n' { one } else { ' ' }));
                rest = &found[length..];
                continue;
            }
            [quote @ (b'"' | b'\''), ..] => {
                let mut letters = found[1..].char_indices();
                skip_string(&mut letters, char::from(*quote));
                found.len() - letters.as_str().len()
            }
            [b'\\', ..] => found.char_indices().nth(2).map_or(found.len(), |(end, _)| end),
            _ => 1,
        };
        out.push_str(&found[..length]);
        rest = &found[length..];
    }
    out.push_str(rest);
    out
}

/// Reads to the end of the string, which ends at the latest with its line.
fn skip_string(letters: &mut std::str::CharIndices<'_>, quote: char) {
    while let Some((_, letter)) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '\n' => return,
            _ if letter == quote => return,
            _ => {}
        }
    }
}

impl Block {
    /// The block inside of this one that begins with `prelude {`.
    fn inner(self, prelude: &str) -> Self {
        let lower = prelude.to_ascii_lowercase();
        if let Some(condition) = lower.strip_prefix("@media") {
            return match schemes_of_media(condition) {
                Some(only) => Self {
                    schemes: [self.schemes[0] && only[0], self.schemes[1] && only[1]],
                    ..self
                },
                None => Self { is_known: false, ..self },
            };
        }
        match lower.strip_prefix("@layer") {
            Some(_) => Self { is_layered: true, ..self },
            None if lower.starts_with('@') => Self { is_known: false, ..self },
            None => {
                let selectors = || lower.split(',').map(str::trim);
                let is_root = selectors().any(|one| one == ":root");
                let root = (is_root || selectors().any(|one| one == "html")).then_some(is_root);
                // A rule inside of another one has another selector than its own text.
                Self {
                    is_known: self.is_known && root.is_some() && self.root.is_none(),
                    root,
                    ..self
                }
            }
        }
    }

    fn declaration(self, css: &str, start: usize, text: &str) -> Option<Declaration> {
        let is_root = self.root.filter(|_| self.is_known)?;
        let (name, value) = text.split_once(':')?;
        let name_at = start + text.len() - text.trim_start().len();
        let value = value.trim();
        let (value, is_important) = match value.rsplit_once('!') {
            Some((value, word)) if word.trim().eq_ignore_ascii_case("important") => (value, true),
            _ => (value, false),
        };
        let is_strong_layer = self.is_layered == is_important;
        let rank = Rank { is_important, is_strong_layer, is_site: self.is_site, is_root };
        name.trim().starts_with("--").then(|| Declaration {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            line: css[..name_at].matches('\n').count() + 1,
            schemes: self.schemes,
            rank,
        })
    }
}

/// The color schemes in which the media query is true on a screen; `None`: that depends on something else.
fn schemes_of_media(query: &str) -> Option<[bool; 2]> {
    let mut schemes = [false; 2];
    for alternative in query.split(',') {
        let mut only = [true; 2];
        for part in alternative.trim().split(" and ").map(str::trim) {
            match part {
                "all" | "screen" | "only screen" | "only all" => {}
                _ => match preferred(part)?.as_str() {
                    "light" => only[1] = false,
                    "dark" => only[0] = false,
                    _ => return None,
                },
            }
        }
        schemes = [schemes[0] || only[0], schemes[1] || only[1]];
    }
    Some(schemes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(css: &str) -> Vec<(String, String, usize, [bool; 2])> {
        declarations(css, true)
            .into_iter()
            .map(|one| (one.name, one.value, one.line, one.schemes))
            .collect()
    }

    fn names(css: &str) -> Vec<String> {
        read(css).into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn properties_of_the_root_are_read_with_their_line_and_scheme() {
        let css = "/* a; { */ @import 'x;{.css';\n\
                   :root, .x { --a: #fff; color: red;\n --b: url(data:a;b) \";}\" }\n\
                   @media (prefers-color-scheme: dark) {\n html { --a: oklch(20% 0 0) !important } }\n\
                   @layer site { @media screen and (prefers-color-scheme:light) { :root { --c:x; } } }";
        assert_eq!(
            read(css),
            [
                ("--a".into(), "#fff".into(), 2, [true, true]),
                ("--b".into(), "url(data:a;b) \";}\"".into(), 3, [true, true]),
                ("--a".into(), "oklch(20% 0 0)".into(), 5, [false, true]),
                ("--c".into(), "x".into(), 6, [true, false]),
            ]
        );
    }

    #[test]
    fn other_selectors_and_conditions_are_skipped() {
        for css in [
            ".card { --a: 1 }",
            ":root .card { --a: 1 }",
            ":root { .card { --a: 1 } }",
            "@media print { :root { --a: 1 } }",
            "@media (min-width: 40rem) { :root { --a: 1 } }",
            "@supports (color: red) { :root { --a: 1 } }",
            "@font-face { --a: 1 }",
            "--a: 1;",
            "/* :root { --a: 1 } */",
            ":root { content: \"} :root { --a: 1\" }",
        ] {
            assert!(names(css).is_empty(), "{css}: {:?}", names(css));
        }
        assert_eq!(
            names(":root { @media (prefers-color-scheme: dark) { --a: 1 } --b: 2 }"),
            ["--a", "--b"]
        );
    }

    #[test]
    fn broken_style_sheets_are_read_to_their_end() {
        for css in [
            "",
            "}",
            "}}:root{--a:1}",
            ":root{--a:1",
            "/*",
            "'",
            "\\",
            ":root{--a:'\n;--b:1}",
            "é{\\é",
            "@media{",
            "@layer",
            "(((((",
            ":root{--a:(;}--b:1}",
        ] {
            declarations(css, true);
        }
        assert_eq!(names("}}:root{--a:1;--b:2}"), ["--a", "--b"]);
    }

    #[test]
    fn rules_outside_of_layers_win_and_important_ones_over_them() {
        let rank = |css: &str| declarations(css, true)[0].rank;
        let order = [
            "@layer x { html { --a: 1 } }",
            "@layer x { :root { --a: 1 } }",
            "html { --a: 1 }",
            ":root { --a: 1 }",
            ":root { --a: 1 !important }",
            "@layer x { :root { --a: 1 !important } }",
        ];
        assert!(order.windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
    }

    #[test]
    fn every_rule_of_frontdesk_is_in_a_layer_so_that_those_of_a_site_win() {
        let css = without_comments(include_str!("../../static/frontdesk.css"));
        assert!(css.contains("utilities, site;"), "the layer of a site is the last one");
        let (mut open, mut start) = (Vec::new(), 0);
        for (at, letter) in css.char_indices().filter(|(_, letter)| "{};".contains(*letter)) {
            let prelude = css[start..at].trim();
            match letter {
                '{' => open.push(prelude),
                '}' => drop(open.pop()),
                _ => {}
            }
            start = at + 1;
            let is_in_layer = open.iter().any(|outer| outer.starts_with("@layer"));
            assert!(is_in_layer || open.iter().all(|outer| outer.starts_with('@')), "{prelude}");
        }
    }
}
