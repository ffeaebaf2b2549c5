use std::collections::BTreeMap;
use std::path::PathBuf;

use fluent_bundle::FluentResource;

use super::*;
use crate::folder::{Folder, Layers};

fn folder(files: &[(&str, &str)]) -> Folder {
    files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec().into())).collect()
}

fn site(text: &str) -> Layers {
    Layers { site: folder(&[("en/site.ftl", text)]), ..Layers::default() }
}

fn found(layers: &Layers) -> Vec<String> {
    problems(layers).iter().map(ToString::to_string).collect()
}

#[test]
fn the_messages_of_frontdesk_have_no_mistakes_and_each_key_is_there_once() {
    let mut seen = BTreeMap::new();
    for (path, resource) in layers::OWN.iter() {
        if let Err((_, errors)) = FluentResource::try_new(resource.source().to_owned()) {
            panic!("{path}: {errors:?}");
        }
        // As if they were those of a site: that finds unknown references, functions and open elements.
        let layers = Layers { site: folder(&[(path, resource.source())]), ..Layers::default() };
        assert_eq!(found(&layers), Vec::<String>::new());
        for line in resource.source().lines() {
            let key = line.split_once(" =").map(|(key, _)| key);
            if let Some(key) = key.filter(|key| !key.starts_with([' ', '#'])) {
                assert_eq!(seen.insert(key.to_owned(), path), None, "{key} is in {path} again");
            }
        }
    }
    assert_eq!(seen.len(), Catalog::own().keys().count());
}

#[test]
fn a_site_replaces_single_messages_and_an_operator_replaces_those_of_the_site() {
    let layers = Layers {
        operator: Some((
            PathBuf::from("/look"),
            folder(&[("en/site.ftl", "layout-skip = To the text\n-brand = Inn")]),
        )),
        ..site(
            "layout-skip = Skip\nnotes-n = { $n ->\n    [one] One note\n   *[other] { $n } notes\n }\nwelcome = Welcome to { -brand }\n-brand = Desk",
        )
    };
    assert_eq!(found(&layers), Vec::<String>::new());
    let catalog = Catalog::load(&layers);
    let text = |key: &str, n: f64| {
        catalog.text(key, [("n", Argument::Number(n))]).map(std::borrow::Cow::into_owned)
    };
    assert_eq!(text("layout-skip", 0.0).as_deref(), Ok("To the text"));
    assert_eq!(text("layout-error", 0.0).as_deref(), Ok("Error:"));
    assert_eq!(text("notes-n", 1.0).as_deref(), Ok("One note"));
    assert_eq!(text("notes-n", 1234.0).as_deref(), Ok("1234 notes"));
    assert_eq!(text("welcome", 0.0).as_deref(), Ok("Welcome to Inn"));
    assert_eq!(text("no", 0.0), Err(MessageError::Unknown("no".to_owned())));
    let error = catalog.text("notes-n", []).unwrap_err().to_string();
    assert!(error.starts_with("The message notes-n cannot be shown: "), "{error}");
}

#[test]
fn a_broken_file_is_named_with_its_line_and_what_is_expected() {
    for (text, expected) in [
        (
            "a = b\nlayout-skip",
            "locales/en/site.ftl:2: Expected a token starting with \"=\". A message is written: key = Text with { $variable }.",
        ),
        ("# x\na = { $n", "locales/en/site.ftl:2: Expected a token starting with \"}\". "),
        (
            "a = b\nlayout-skip = Hello\n    { $who }",
            "locales/en/site.ftl:3: The message layout-skip has no variable $who. It has none.",
        ),
        (
            "layout-skip = <strong>Skip</strong>",
            "locales/en/site.ftl:1: The message layout-skip has no element <strong>. It has none.",
        ),
        ("a = <strong>b", "locales/en/site.ftl:1: In the message a, <strong> is not closed."),
        ("\na = { b }", "locales/en/site.ftl:2: The message a refers to b, which does not exist."),
        ("a = { -b }", "locales/en/site.ftl:1: The message a refers to -b, which does not exist."),
        (
            "a = { LOUD($n) }",
            "locales/en/site.ftl:1: The message a uses the function LOUD, which does not exist.",
        ),
        ("a = { a }", "locales/en/site.ftl:1: The message a refers to itself."),
        ("-a = { b }", "locales/en/site.ftl:1: The term -a refers to b, which does not exist."),
        (
            "a = b\n\na = c",
            "locales/en/site.ftl:3: The message a is in locales/en/site.ftl:1 too. Remove one of them.",
        ),
        ("a =\n    .title = b", "locales/en/site.ftl:1: The message a has no text."),
    ] {
        let found = found(&site(text));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}\n{expected}");
    }
    for path in ["site.ftl", "de/site.ftl", "en/site.txt", "en/a/b.ftl"] {
        let layers = Layers { site: folder(&[(path, "a = b")]), ..Layers::default() };
        let expected = format!(
            "locales/{path}: is not read. Messages are in en/site.ftl, or in other files en/*.ftl."
        );
        assert_eq!(found(&layers), [expected]);
    }
    let operator =
        Some((PathBuf::from("/look"), folder(&[("en/site.ftl", "layout-skip = { $x }")])));
    let of_operator = found(&Layers { operator, ..Layers::default() });
    assert!(of_operator[0].starts_with("/look/en/site.ftl:1: "), "{of_operator:?}");
    let not_text = [("en/site.ftl".to_owned(), b"\xff".to_vec().into())].into();
    let expected = "locales/en/site.ftl: is not UTF-8 text.";
    assert_eq!(found(&Layers { site: not_text, ..Layers::default() }), [expected]);
}

/// The variant of another number is chosen when the message is shown with 1.
#[test]
fn a_mistake_in_any_variant_of_a_message_is_found_and_a_message_that_refers_to_itself() {
    for (variant, expected) in [
        ("{ c }", "3: The message a refers to c, which does not exist."),
        ("{ b.title }", "3: The message a refers to b.title, which does not exist."),
        ("{ LOUD($n) }", "3: The message a uses the function LOUD, which does not exist."),
        ("{ a }", "3: The message a refers to itself."),
        ("<strong>x", "3: In the message a, <strong> is not closed."),
    ] {
        let text = format!(
            "b = B\na = {{ $n ->\n    [0] {variant}\n    [one] one\n   *[other] {{ $n }}\n }}\n"
        );
        assert_eq!(found(&site(&text)), [format!("locales/en/site.ftl:{expected}")], "{text}");
    }
    let reported_once = found(&site("a = { b }\nb = { c }"));
    assert_eq!(
        reported_once,
        ["locales/en/site.ftl:2: The message b refers to c, which does not exist."]
    );
    let variants = |zero: &str| {
        format!("sessions-count = {{ $n ->\n    [0] {zero}\n   *[other] {{ $n }}\n }}\n")
    };
    let unknown = found(&site(&variants("{ $total }")));
    let expected =
        "locales/en/site.ftl:2: The message sessions-count has no variable $total. It has $n.";
    assert_eq!(unknown, [expected]);
    let circle = found(&site(
        "a = { -b }\n-b = <strong>{ c }</strong>\nc = { $n ->\n   *[other] { a }\n }\nd = { a }",
    ));
    let expected = [
        "locales/en/site.ftl:1: The message a refers to itself through -b.",
        "locales/en/site.ftl:2: The term -b refers to itself through c.",
        "locales/en/site.ftl:4: The message c refers to itself through a.",
    ];
    assert_eq!(circle[..3], expected);
    assert!(circle[3].starts_with("locales/en/site.ftl:6: The message d cannot be shown: "));
    // With attributes, which are texts of their own.
    let text = "a = { a.title }\n    .title = b\n-c = c\n    .kind = few\nd = { -c.kind ->\n   *[few] x\n }";
    assert_eq!(found(&site(text)), Vec::<String>::new());
    // An operator's message may refer to one of the site, and not back.
    let both = |of_operator: &str| Layers {
        operator: Some((PathBuf::from("/look"), folder(&[("en/site.ftl", of_operator)]))),
        ..site("a = { b }\nb = B")
    };
    assert_eq!(found(&both("c = { a }")), Vec::<String>::new());
    let expected = "/look/en/site.ftl:1: The message b refers to itself through a.";
    assert_eq!(found(&both("b = { a }")), [expected]);
}

#[test]
fn what_a_user_typed_is_escaped_and_isolated_in_html() {
    let catalog = Catalog::load(&site(
        "hello = <strong>Hello</strong> { $name }, see <link>{ $n } notes</link> & go",
    ));
    let arguments = [
        ("name", Argument::Text("<b>\"Ada\" & {$n}\u{F8F1}".into())),
        ("n", Argument::Number(3.0)),
        ("link", Argument::Text("/a?b&c".into())),
    ];
    let html = catalog.html("hello", &arguments.into()).unwrap();
    let expected = "<strong>Hello</strong> <bdi>&lt;b&gt;&quot;Ada&quot; &amp; {$n}\u{FFFD}</bdi>, see <a href=\"/a?b&amp;c\">3 notes</a> &amp; go";
    assert_eq!(html, expected);
    let arguments = [
        ("name", Argument::Html("<i>x</i>")),
        ("n", Argument::Number(1.0)),
        ("link", Argument::Nothing),
    ];
    let html = catalog.html("hello", &arguments.into()).unwrap();
    assert_eq!(html, "<strong>Hello</strong> <i>x</i>, see 1 notes &amp; go");
    let error =
        catalog.html("hello", &[("name", Argument::Html("")), ("n", Argument::Number(1.0))].into());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("<link> needs a parameter link"), "{error}");
}

#[test]
fn a_text_is_resolved_in_the_language_of_the_render() {
    let catalog = std::sync::Arc::new(Catalog::load(&site(
        "layout-skip = Skip!\nwait = Wait { $time }.\nminutes = { $n ->\n    [one] one minute\n   *[other] { $n } minutes\n }",
    )));
    let skip = Text::key("layout-skip");
    assert_eq!(skip.to_string(), "Skip to main content");
    let inside = enter(&catalog);
    assert_eq!(skip.to_string(), "Skip!");
    let wait = Text::key("wait").with("time", Text::key("minutes").with("n", 5));
    assert_eq!(serde_json::to_string(&wait).unwrap(), "\"Wait 5 minutes.\"");
    {
        let _own = enter(Catalog::own());
        assert_eq!(skip.to_string(), "Skip to main content");
    }
    assert_eq!(skip.to_string(), "Skip!");
    drop(inside);
    assert_eq!(skip.to_string(), "Skip to main content");
    assert_eq!(Text::key("no-such-key").to_string(), "no-such-key");
    assert_eq!(Text::from("{ $n } & <b>").to_string(), "{ $n } & <b>");
}

#[test]
fn an_operator_is_compared_with_the_site_and_a_site_is_not_blamed_for_an_operator() {
    let both = |of_site: &str, of_operator: &str| Layers {
        operator: Some((PathBuf::from("/look"), folder(&[("en/site.ftl", of_operator)]))),
        ..site(of_site)
    };
    for (of_site, of_operator) in [
        ("viewer-signed-in = Hello", "viewer-signed-in = <prefix>You are </prefix>{ $email }"),
        ("wait = Wait { $time }\nhint = { wait } Thanks.", ""),
        ("note-moved = { $note } was moved", "note-moved = Moved: { $note }"),
    ] {
        assert_eq!(found(&both(of_site, of_operator)), Vec::<String>::new(), "{of_site}");
    }
    for (of_site, of_operator, expected) in [
        (
            "note-moved = { $note } was moved",
            "note-moved = Moved { $nota }",
            "/look/en/site.ftl:1: The message note-moved has no variable $nota. It has $note.",
        ),
        (
            "-brand = <strong>Inn",
            "",
            "locales/en/site.ftl:1: In the term -brand, <strong> is not closed.",
        ),
        (
            "part = <help>x</help>\nlayout-skip = { part }",
            "",
            "locales/en/site.ftl:2: The message layout-skip has no element <help>. It has none.",
        ),
        (
            "-layout-skip = Skip",
            "",
            "locales/en/site.ftl:1: The term -layout-skip has the name of a message. Choose another name.",
        ),
    ] {
        assert_eq!(found(&both(of_site, of_operator)), [expected]);
    }
}

#[test]
fn a_value_is_isolated_only_where_the_message_has_it() {
    let text = Text::key("viewer-signed-in");
    assert!(text.around("email", "ada@example.com").is_some());
    assert_eq!(Text::key("layout-skip").around("email", "ada@example.com"), None);
}
