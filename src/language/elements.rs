//! Elements in messages: `<strong>`, `<code>`, `<br>`, and those that are named like a parameter, such as
//! `<link>here</link>`. Everything else is text.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// Elements that every message of HTML may have.
pub(super) const COMMON: [&str; 3] = ["strong", "code", "br"];

/// Marks of the places where variables were: before text, before finished HTML, and after both. They are characters
/// without a meaning, and [`without_marks`] removes them from what users type.
const TEXT: char = '\u{F8F0}';
const HTML: char = '\u{F8F1}';
const END: char = '\u{F8F2}';

/// In place of the text inside of an element.
const INSIDE: char = '…';

/// What stands before and after the text inside of an element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wrapper {
    before: String,
    after: String,
}

impl Wrapper {
    pub(super) fn link(url: &str) -> Self {
        Self { before: format!("<a href=\"{}\">", escape(url)), after: "</a>".to_owned() }
    }

    /// `html` with `…` for the text inside of it.
    pub(super) fn of(html: &str) -> Option<Self> {
        let (before, after) = html.split_once(INSIDE)?;
        Some(Self { before: before.to_owned(), after: after.to_owned() })
    }
}

/// Text that replaces a variable; finished HTML has its mark already.
pub(super) fn mark(text: &str) -> String {
    if text.starts_with(HTML) { text.to_owned() } else { format!("{TEXT}{text}{END}") }
}

pub(super) fn mark_html(html: &str) -> String {
    format!("{HTML}{}{END}", without_marks(html))
}

/// The text without characters that are marks here.
pub(super) fn without_marks(text: &str) -> Cow<'_, str> {
    if text.contains([TEXT, HTML, END]) {
        Cow::Owned(text.replace([TEXT, HTML, END], "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A tag of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag<'a> {
    Open(&'a str),
    Close(&'a str),
}

/// The tag at the beginning of `text`, and what follows it. `None`: it is text.
fn tag(text: &str) -> Option<(Tag<'_>, &str)> {
    let rest = text.strip_prefix('<')?;
    let (is_end, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
    let (name, after) = rest.split_once('>')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let tag = if is_end { Tag::Close(name) } else { Tag::Open(name) };
    is_name.then_some((tag, after))
}

/// The names of the elements in the parts of a text, in order. The error says what is not closed.
pub(super) fn names<'a>(
    parts: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeSet<&'a str>, String> {
    let (mut names, mut open) = (BTreeSet::new(), Vec::new());
    for part in parts {
        let mut rest = part;
        while let Some(at) = rest.find('<') {
            rest = &rest[at..];
            let Some((tag, after)) = tag(rest) else {
                rest = &rest[1..];
                continue;
            };
            rest = after;
            match tag {
                Tag::Open(name) => {
                    names.insert(name);
                    if name != "br" {
                        open.push(name);
                    }
                }
                Tag::Close(name) => close(&mut open, name)?,
            }
        }
    }
    match open.pop() {
        Some(name) => Err(format!("<{name}> is not closed")),
        None => Ok(names),
    }
}

fn close(open: &mut Vec<&str>, name: &str) -> Result<(), String> {
    match open.pop() {
        Some(last) if last == name => Ok(()),
        Some(last) => Err(format!("</{name}> comes before the end of <{last}>")),
        None => Err(format!("</{name}> has no beginning")),
    }
}

/// A message with marks as HTML. `wrapper` knows the elements that are parameters.
pub(super) fn to_html(
    text: &str,
    wrapper: impl Fn(&str) -> Option<Wrapper>,
) -> Result<String, String> {
    let (mut html, mut rest) = (String::with_capacity(text.len() + 64), text);
    let (mut open, mut ends) = (Vec::new(), Vec::new());
    while let Some(at) = rest.find(['<', TEXT, HTML]) {
        html.push_str(&escape(&rest[..at]));
        rest = &rest[at..];
        if let Some(value) = rest.strip_prefix(TEXT) {
            let (value, after) = value.split_once(END).unwrap_or((value, ""));
            html.push_str("<bdi>");
            html.push_str(&escape(value));
            html.push_str("</bdi>");
            rest = after;
        } else if let Some(value) = rest.strip_prefix(HTML) {
            let (value, after) = value.split_once(END).unwrap_or((value, ""));
            html.push_str(value);
            rest = after;
        } else if let Some((tag, after)) = tag(rest) {
            rest = after;
            match tag {
                Tag::Open("br") => html.push_str("<br>"),
                Tag::Open(name @ ("strong" | "code")) => {
                    html.push_str(&format!("<{name}>"));
                    open.push(name);
                    ends.push(format!("</{name}>"));
                }
                Tag::Open(name) => {
                    let missing = || {
                        format!("<{name}> needs a parameter {name} (a path, or HTML with {INSIDE})")
                    };
                    let wrapper = wrapper(name).ok_or_else(missing)?;
                    html.push_str(&wrapper.before);
                    open.push(name);
                    ends.push(wrapper.after);
                }
                Tag::Close(name) => {
                    close(&mut open, name)?;
                    html.push_str(&ends.pop().unwrap_or_default());
                }
            }
        } else {
            html.push_str("&lt;");
            rest = &rest[1..];
        }
    }
    html.push_str(&escape(rest));
    match open.pop() {
        Some(name) => Err(format!("<{name}> is not closed")),
        None => Ok(html),
    }
}

/// As tera escapes values.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = Vec::with_capacity(text.len() + 16);
    match tera::escape_html(text, &mut escaped) {
        Ok(()) => Cow::Owned(String::from_utf8_lossy(&escaped).into_owned()),
        // Writing to memory does not fail.
        Err(_) => Cow::Borrowed(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> Result<String, String> {
        to_html(text, |name| match name {
            "link" => Some(Wrapper::link("/a?b&\"c\"")),
            "mail" => Wrapper::of("<a class=\"x\" href=\"/m\">…</a>"),
            _ => None,
        })
    }

    #[test]
    fn elements_are_kept_and_everything_else_is_escaped() {
        for (text, expected) in [
            ("Plain text.", "Plain text."),
            (
                "<strong>a</strong> & <code>b</code><br>c",
                "<strong>a</strong> &amp; <code>b</code><br>c",
            ),
            ("<link>a</link>", "<a href=\"/a?b&amp;&quot;c&quot;\">a</a>"),
            (
                "<mail>a <strong>b</strong></mail>",
                "<a class=\"x\" href=\"/m\">a <strong>b</strong></a>",
            ),
            ("1 < 2 <3 <B> <a href=x>", "1 &lt; 2 &lt;3 &lt;B&gt; &lt;a href=x&gt;"),
            ("<", "&lt;"),
            ("</", "&lt;/"),
        ] {
            assert_eq!(html(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("<strong>a", "<strong> is not closed"),
            ("a</strong>", "</strong> has no beginning"),
            ("<strong><code>a</strong></code>", "</strong> comes before the end of <code>"),
            ("<script>x</script>", "<script> needs a parameter script (a path, or HTML with …)"),
        ] {
            assert_eq!(html(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn variables_are_isolated_and_cannot_pretend_to_be_html() {
        let typed = "\u{F8F1}<b>\u{F8F2} & <strong>";
        let text = format!("Hello {}!", mark(&without_marks(typed)));
        let expected = "Hello <bdi>\u{FFFD}&lt;b&gt;\u{FFFD} &amp; &lt;strong&gt;</bdi>!";
        assert_eq!(html(&text).as_deref(), Ok(expected));
        let finished = mark(&mark_html("<time>now</time>"));
        assert_eq!(html(&finished).as_deref(), Ok("<time>now</time>"));
    }

    /// Every text of some pieces, up to a length: the parser ends, and what it accepts is balanced HTML whose only
    /// tags are those that are allowed.
    #[test]
    fn the_parser_of_elements_passes_on_no_other_tag() {
        let pieces = [
            "<",
            ">",
            "/",
            "b",
            "<strong>",
            "</strong>",
            "<link>",
            "</link>",
            "<br>",
            "\u{F8F0}",
            "\u{F8F2}",
            "<x>",
            "é",
        ];
        let allowed =
            ["strong", "/strong", "br", "bdi", "/bdi", "a href=\"/a?b&amp;&quot;c&quot;\"", "/a"];
        let (mut texts, mut accepted) = (vec![String::new()], 0);
        for _ in 0..4 {
            texts = texts
                .iter()
                .flat_map(|text| pieces.map(|piece| format!("{text}{piece}")))
                .collect();
            for text in &texts {
                let Ok(html) = html(text) else { continue };
                accepted += 1;
                assert_eq!(
                    html.matches("<strong>").count(),
                    html.matches("</strong>").count(),
                    "{text}"
                );
                assert_eq!(html.matches("<a ").count(), html.matches("</a>").count(), "{text}");
                for tag in html.split('<').skip(1) {
                    let tag = tag.split_once('>').map(|(tag, _)| tag);
                    assert!(tag.is_some_and(|tag| allowed.contains(&tag)), "{text}: {html}");
                }
                assert!(text.contains(TEXT) || names([text.as_str()]).is_ok(), "{text}");
            }
        }
        assert!(accepted > 1000, "{accepted}");
    }
}
