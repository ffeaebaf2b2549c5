//! Finds mistakes in the markup of a rendered page that a browser would not report: unclosed elements, form controls
//! without a label, forms without their hidden field, and what the content security policy of Frontdesk's pages blocks.

use std::collections::HashSet;

/// A mistake, and the tag that has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MarkupProblem {
    /// As it stands in the page.
    pub(super) tag: String,
    pub(super) message: String,
}

/// Elements without an end tag.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr", "param",
];
/// Elements whose end tag may be left out.
const OPTIONAL: [&str; 15] = [
    "li", "dt", "dd", "p", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot",
    "colgroup", "html", "body",
];
/// Elements whose content is text.
const RAW: [&str; 4] = ["script", "style", "textarea", "title"];
/// Inputs that have no label.
const UNLABELED: [&str; 5] = ["hidden", "submit", "button", "reset", "image"];

/// A start tag.
struct Tag<'a> {
    name: String,
    source: &'a str,
    attributes: Vec<(String, &'a str)>,
}

impl Tag<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }
}

/// The mistakes in `html`. `is_page`: also what is only a mistake on Frontdesk's pages, and not in a mail.
pub(super) fn problems(html: &str, is_page: bool) -> Vec<MarkupProblem> {
    let mut checker =
        Checker { has_password: html.contains("type=\"password\""), ..Checker::default() };
    checker.read(html);
    let Checker { mut found, open, controls, labels, forms, mut blocked, .. } = checker;
    let unclosed = open.iter().filter(|(name, _)| !OPTIONAL.contains(&name.as_str()));
    found
        .extend(unclosed.map(|(name, source)| problem(source, &format!("<{name}> is not closed"))));
    if is_page {
        let unlabeled = controls.into_iter().filter(|(id, _)| !labels.contains(id));
        let missing =
            "the form control has no label: add <label for=\"…\"> with its id, or use form.field";
        found.extend(unlabeled.map(|(_, source)| problem(&source, missing)));
        let hidden = "the form has no hidden field: add {{ <form.hidden /> }}";
        found.extend(forms.iter().map(|source| problem(source, hidden)));
        found.append(&mut blocked);
    }
    found
}

fn problem(tag: &str, message: &str) -> MarkupProblem {
    MarkupProblem { tag: tag.to_owned(), message: message.to_owned() }
}

#[derive(Default)]
struct Checker {
    has_password: bool,
    /// Open elements and their start tags.
    open: Vec<(String, String)>,
    /// The ids of form controls that need a label.
    controls: Vec<(String, String)>,
    labels: HashSet<String>,
    /// Forms with POST without their hidden field.
    forms: Vec<String>,
    /// The form that is open now, if it still lacks its hidden field.
    form: Option<String>,
    blocked: Vec<MarkupProblem>,
    found: Vec<MarkupProblem>,
}

impl Checker {
    fn read(&mut self, html: &str) {
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            rest = &rest[at..];
            if rest.starts_with("<!--") {
                rest = rest.split_once("-->").map_or("", |(_, rest)| rest);
            } else if let Some(tag) = start_tag(rest) {
                rest = &rest[tag.source.len()..];
                let end = format!("</{}", tag.name);
                if RAW.contains(&tag.name.as_str()) {
                    let content = rest.find(&end).unwrap_or(rest.len());
                    self.check_raw(&tag, &rest[..content]);
                    rest = &rest[content..];
                }
                self.start(&tag);
            } else if let Some(name) = rest.strip_prefix("</") {
                let end = name.find('>').unwrap_or(name.len());
                self.end(name[..end].trim());
                rest = &name[end..];
            } else {
                rest = &rest[1..];
            }
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        let is_inside_label = self.open.iter().any(|(name, _)| name == "label");
        match tag.name.as_str() {
            "form"
                if tag.get("method").is_some_and(|method| method.eq_ignore_ascii_case("post")) =>
            {
                self.form = Some(tag.source.to_owned());
            }
            "input" if tag.get("name") == Some("form_token") => self.form = None,
            "label" => self.labels.extend(tag.get("for").map(str::to_owned)),
            _ => {}
        }
        let kind = tag.get("type").unwrap_or("text");
        let is_control = match tag.name.as_str() {
            "input" => !UNLABELED.contains(&kind),
            name => ["select", "textarea"].contains(&name),
        };
        let is_named = ["aria-label", "aria-labelledby", "title"];
        if is_control && !is_inside_label && !is_named.iter().any(|name| tag.get(name).is_some()) {
            let id = tag.get("id").unwrap_or_default().to_owned();
            self.controls.push((id, tag.source.to_owned()));
        }
        self.check_policy(tag);
        let closes_itself = VOID.contains(&tag.name.as_str()) || tag.source.ends_with("/>");
        if !closes_itself {
            self.open.push((tag.name.clone(), tag.source.to_owned()));
        }
    }

    fn end(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if name == "form" {
            self.forms.extend(self.form.take());
        }
        let Some(at) = self.open.iter().rposition(|(open, _)| *open == name) else {
            let tag = format!("</{name}>");
            return self.found.push(problem(&tag, &format!("{tag} closes nothing")));
        };
        for (open, source) in self.open.split_off(at).into_iter().skip(1) {
            if !OPTIONAL.contains(&open.as_str()) {
                self.found.push(problem(&source, &format!("<{open}> is not closed")));
            }
        }
    }

    fn block(&mut self, tag: &Tag<'_>, what: &str) {
        let message = format!("{what}: the content security policy of Frontdesk's pages blocks it");
        self.blocked.push(problem(tag.source, &message));
    }

    fn check_raw(&mut self, tag: &Tag<'_>, content: &str) {
        let is_empty = content.trim().is_empty();
        match tag.name.as_str() {
            "style" => self.block(tag, "a style sheet in the page"),
            "script" if !is_empty || tag.get("src").is_none() => {
                self.block(tag, "a script in the page");
            }
            "script" if !self.has_password => {
                self.block(tag, "a script; put it inside {% if is_site_page %}");
            }
            _ => {}
        }
    }

    fn check_policy(&mut self, tag: &Tag<'_>) {
        if tag.get("style").is_some() {
            self.block(tag, "the attribute style");
        }
        if let Some((name, _)) = tag.attributes.iter().find(|(name, _)| name.starts_with("on")) {
            self.block(tag, &format!("the attribute {name}"));
        }
        let is_foreign = |url: &str| {
            url.starts_with("//")
                || url.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/'))
        };
        let source = match tag.name.as_str() {
            "script" | "img" => tag.get("src"),
            "link"
                if tag
                    .get("rel")
                    .is_some_and(|rel| rel.contains("stylesheet") || rel.contains("icon")) =>
            {
                tag.get("href")
            }
            "iframe" | "object" | "embed" | "video" | "audio" => {
                return self.block(tag, &format!("<{}>", tag.name));
            }
            _ => None,
        };
        if source.is_some_and(is_foreign) {
            self.block(tag, "a file of another origin");
        }
        if tag.get("href").is_some_and(|url| url.trim_start().starts_with("javascript:")) {
            self.block(tag, "a script in a link");
        }
    }
}

/// The start tag that `text` begins with.
fn start_tag(text: &str) -> Option<Tag<'_>> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let after = text.strip_prefix('<')?;
    let length = after.find(|character| !is_name(character)).unwrap_or(after.len());
    if !after.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let mut tag =
        Tag { name: after[..length].to_ascii_lowercase(), source: "", attributes: Vec::new() };
    let mut rest = after[length..].trim_start();
    while !rest.is_empty() && !rest.starts_with('>') {
        if let Some(after) = rest.strip_prefix('/') {
            rest = after.trim_start();
            continue;
        }
        let end = rest.find(|one: char| one.is_whitespace() || ['=', '>', '/'].contains(&one));
        let (name, after) = rest.split_at(end.unwrap_or(rest.len()).max(1));
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('=').map(str::trim_start) {
            None => ("", after),
            Some(value) => match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].split_once(quote)?,
                _ => value.split_at(value.find([' ', '\n', '>']).unwrap_or(value.len())),
            },
        };
        tag.attributes.push((name.to_ascii_lowercase(), value));
        rest = after.trim_start();
    }
    let end = text.len() - rest.len() + usize::from(!rest.is_empty());
    tag.source = &text[..end];
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(html: &str) -> Vec<String> {
        problems(html, true).into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn markup_without_mistakes_is_accepted() {
        let html = "<!DOCTYPE html><html lang=en><head><title>a < b</title><link rel=\"stylesheet\" href='/static/a.css'></head>
            <body><!-- <b> --><ul><li>one<li>two</ul><p>text<br><img src=\"/static/a.png\" alt=\"\">
            <form method=\"post\" action=\"/x\"><input type=\"hidden\" name=\"form_token\" value=\"a\">
            <label for=\"a\">A</label><input id=\"a\" name=\"a\" required autofocus><label>B <select name=\"b\"></select></label>
            <button>Send</button></form><svg viewBox=\"0 0 1 1\"><path d=\"m0 0\"/></svg></body></html>";
        assert_eq!(messages(html), Vec::<String>::new());
        let password = "<label for=p>P</label><input id=p type=\"password\"><script type=\"module\" src=\"/static/a.js\"></script>";
        assert_eq!(messages(password), Vec::<String>::new());
    }

    #[test]
    fn every_mistake_is_found_with_its_tag() {
        for (html, expected) in [
            ("<div><b>x</div>", "<b> is not closed"),
            ("<main><p>x", "<main> is not closed"),
            ("<p>x</p></div>", "</div> closes nothing"),
            ("<input name=\"a\">", "the form control has no label"),
            (
                "<label for=\"b\">x</label><textarea id=\"a\"></textarea>",
                "the form control has no label",
            ),
            ("<form method=\"POST\" action=\"/x\"></form>", "the form has no hidden field"),
            ("<style>a{}</style>", "a style sheet in the page: "),
            ("<script>a()</script>", "a script in the page: "),
            (
                "<script src=\"/static/a.js\"></script>",
                "a script; put it inside {% if is_site_page %}: ",
            ),
            (
                "<script src=\"https://evil.example/a.js\"></script><input type=\"password\" aria-label=\"p\">",
                "a file of another origin: ",
            ),
            ("<img src=\"data:image/png;base64,AA\" alt=\"\">", "a file of another origin: "),
            ("<p style=\"color: red\">x</p>", "the attribute style: "),
            ("<p onclick=\"x()\">x</p>", "the attribute onclick: "),
            ("<a href=\"javascript:x()\">x</a>", "a script in a link: "),
            ("<iframe src=\"/x\"></iframe>", "<iframe>: "),
        ] {
            let found = messages(html);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{html}: {found:?}");
        }
        assert_eq!(problems("<div><b class=\"x\">x</div>", true)[0].tag, "<b class=\"x\">");
        assert!(problems("<form method=post></form><style></style><input>", false).is_empty());
    }
}
