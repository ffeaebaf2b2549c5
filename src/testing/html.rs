//! Reads forms and mails from pages.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};

/// A form on a page.
#[derive(Debug, Default)]
pub(super) struct HtmlForm {
    /// Empty: the page itself.
    pub(super) action: String,
    pub(super) is_post: bool,
    pub(super) fields: Vec<Field>,
}

/// A field of a form.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// What a browser sends if the user changes nothing. `None`: nothing, such as for a checkbox without a check mark.
    pub(super) value: Option<String>,
}

/// All forms of a page.
pub(super) fn forms(page: &str) -> Vec<HtmlForm> {
    let mut forms: Vec<HtmlForm> = Vec::new();
    let mut is_open = false;
    // The text of an open `textarea`; the options of an open `select`.
    let (mut textarea, mut has_selection): (Option<String>, bool) = (None, false);
    for token in tokens(page) {
        match token {
            Token::StartTag(tag) if &*tag.name == b"form" => {
                let action = attribute(&tag, "action").unwrap_or_default();
                let method = attribute(&tag, "method").unwrap_or_default();
                let is_post = method.eq_ignore_ascii_case("post");
                forms.push(HtmlForm { action, is_post, fields: Vec::new() });
                is_open = true;
            }
            Token::EndTag(tag) if &*tag.name == b"form" => is_open = false,
            Token::StartTag(tag) if is_open => {
                let Some(form) = forms.last_mut() else { continue };
                match &**tag.name {
                    b"option" => {
                        let selected = attribute(&tag, "selected").is_some();
                        // Without a selection, a browser sends the first option.
                        if let Some(field) = form.fields.last_mut()
                            && (selected || (!has_selection && field.value.is_none()))
                        {
                            field.value = Some(attribute(&tag, "value").unwrap_or_default());
                            has_selection |= selected;
                        }
                    }
                    name => {
                        has_selection = false;
                        textarea = (name == b"textarea").then(String::new);
                        form.fields.extend(field(name, &tag));
                    }
                }
            }
            Token::String(text) => {
                if let Some(textarea) = &mut textarea {
                    textarea.push_str(&String::from_utf8_lossy(&text));
                }
            }
            Token::EndTag(tag) if &*tag.name == b"textarea" => {
                let text = textarea.take();
                if let Some(field) = forms.last_mut().and_then(|form| form.fields.last_mut()) {
                    // A line break directly after the tag is not part of the text.
                    field.value = text.map(|text| text.trim_start_matches('\n').to_owned());
                }
            }
            _ => {}
        }
    }
    forms
}

/// The field that a tag begins. Buttons are not fields.
fn field(tag_name: &[u8], tag: &StartTag<()>) -> Option<Field> {
    let name = attribute(tag, "name").filter(|name| !name.is_empty())?;
    let value = match tag_name {
        b"textarea" | b"select" => None,
        b"input" => {
            let kind = attribute(tag, "type").unwrap_or_default().to_ascii_lowercase();
            let value = attribute(tag, "value");
            match kind.as_str() {
                "submit" | "button" | "image" | "reset" => return None,
                "checkbox" | "radio" => {
                    let value = value.unwrap_or_else(|| "on".to_owned());
                    attribute(tag, "checked").map(|_| value)
                }
                "file" => None,
                _ => Some(value.unwrap_or_default()),
            }
        }
        _ => return None,
    };
    let value = value.filter(|_| attribute(tag, "disabled").is_none());
    Some(Field { name, value })
}

/// Subject, text and links of a mail on its page in the development mailbox.
pub(super) fn mail(page: &str) -> Option<(String, String, Vec<String>)> {
    let (mut subject, mut text, mut links) = (None, None, Vec::new());
    let mut current: Option<String> = None;
    for token in tokens(page) {
        match token {
            Token::StartTag(tag) => match &**tag.name {
                b"h1" => current = Some(String::new()),
                b"div" if attribute(&tag, "class").is_some_and(|class| is_mail_text(&class)) => {
                    current = Some(String::new());
                }
                b"a" if current.is_some() => links.extend(attribute(&tag, "href")),
                _ => {}
            },
            Token::String(more) => {
                if let Some(current) = &mut current {
                    current.push_str(&String::from_utf8_lossy(&more));
                }
            }
            Token::EndTag(tag) => match &**tag.name {
                b"h1" => subject = current.take().or(subject),
                b"div" => text = current.take().or(text),
                _ => {}
            },
            _ => {}
        }
    }
    Some((subject?.trim().to_owned(), text?, links))
}

fn is_mail_text(class: &str) -> bool {
    class.split_ascii_whitespace().any(|class| class == "mail-text")
}

fn tokens(page: &str) -> impl Iterator<Item = Token> {
    let mut emitter = DefaultEmitter::default();
    // The content of `textarea` and `script` is text.
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(page, emitter).filter_map(Result::ok)
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(&value.value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_the_values_that_a_browser_would_send() {
        let page = r#"<input name="outside" value="x"><form action="/a?b=1&amp;c" method="POST">
            <input type="hidden" name="token" value="s&quot;t"><input name="text">
            <input type="checkbox" name="yes" checked><input type="checkbox" name="no" value="1">
            <textarea name="body">
One &lt;b&gt;</textarea><select name="size"><option value="s">S</option><option value="m" selected>M</option></select>
            <select name="first"><option value="1">1</option><option value="2">2</option></select>
            <button name="button" value="1">Go</button></form><form><input name="q" value="1"></form>"#;
        let forms = forms(page);
        assert_eq!(forms.len(), 2);
        assert_eq!((forms[0].action.as_str(), forms[0].is_post), ("/a?b=1&c", true));
        let fields: Vec<(&str, Option<&str>)> = forms[0]
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.value.as_deref()))
            .collect();
        assert_eq!(
            fields,
            [
                ("token", Some("s\"t")),
                ("text", Some("")),
                ("yes", Some("on")),
                ("no", None),
                ("body", Some("One <b>")),
                ("size", Some("m")),
                ("first", Some("1")),
            ]
        );
        assert!(!forms[1].is_post && forms[1].action.is_empty());
    }
}
