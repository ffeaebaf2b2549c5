use std::borrow::Cow;
use std::path::PathBuf;

use super::*;

fn own() -> Tera {
    load(&Layers::default(), &AssetUrls::default(), Catalog::own()).unwrap()
}

fn folder(files: &[(&str, &'static str)]) -> Folder {
    let file =
        |(name, text): &(&str, &'static str)| ((*name).to_owned(), Cow::Borrowed(text.as_bytes()));
    files.iter().map(file).collect()
}

/// What is wrong with a site with these files.
fn of_site(files: &[(&str, &'static str)]) -> Vec<String> {
    problems(&Layers::of_site(&folder(files))).iter().map(ToString::to_string).collect()
}

/// The blocks that the template defines or fills, in order.
fn blocks(text: &str) -> Vec<&str> {
    let starts = text.split("{% block ").skip(1);
    starts.filter_map(|rest| rest.split_whitespace().next()).collect()
}

#[test]
fn every_template_has_an_ending_that_decides_escaping() {
    let names = layers::own_files();
    assert!(names.len() > 50);
    assert!(names.keys().all(|name| layers::decides_escaping(name)), "{names:?}");
}

#[test]
fn blocks_of_a_site_are_filled_by_no_template_of_frontdesk() {
    let for_sites = ["head", "header", "navigation", "footer"];
    let for_pages = ["title", "description", "content", "aside"];
    let internal = ["document_title", "kind", "main"];
    let mut checked = 0;
    for (path, text) in layers::own_files() {
        if path.starts_with("mail/") {
            continue;
        }
        let found = blocks(&text);
        if path == "layouts/base.html" {
            for block in for_sites.iter().chain(&for_pages).chain(&internal) {
                assert_eq!(found.iter().filter(|one| one == &block).count(), 1, "{block}");
            }
            continue;
        }
        for block in found {
            checked += 1;
            assert!(for_pages.contains(&block) || internal.contains(&block), "{path}: {block}");
            // A layout only says where the content of a page is.
            let is_empty = text.contains(&format!("{{% block {block} %}}{{% endblock %}}"));
            let is_layout = path.starts_with("layouts/");
            assert!(!is_layout || is_empty || internal.contains(&block), "{path}: {block}");
        }
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn the_promised_layouts_and_components_exist() {
    let tera = own();
    for layout in ["base.html", "sign_in.html", "account.html"] {
        assert!(tera.contains_template(&format!("layouts/{layout}")), "{layout}");
    }
    assert!(tera.contains_template("mail/layout.html"));
    assert!(tera.contains_template("mail/layout.txt"));
    let promised = "icon.logo icon.mark icon.device form.summary form.field form.textarea \
                    form.checkbox form.submit form.hidden ui.notice ui.time ui.sign_out \
                    mail.button mail.code mail.link";
    for component in promised.split_whitespace() {
        assert!(tera.contains_component(component), "{component}");
    }
}

#[test]
fn html_is_escaped_plain_text_is_not_and_values_are_never_templates() {
    let mut tera = Tera::default();
    let files = [("mail/x/body.html", "{{ name }}"), ("mail/x/body.txt", "{{ name }}")];
    tera.add_raw_templates(files).unwrap();
    let context = Context::from_serialize(&serde_json::json!({ "name": "<b> {{7*7}}" })).unwrap();
    assert_eq!(tera.render("mail/x/body.html", &context).unwrap(), "&lt;b&gt; {{7*7}}");
    assert_eq!(tera.render("mail/x/body.txt", &context).unwrap(), "<b> {{7*7}}");
}

#[test]
fn a_broken_template_is_named_with_its_line_and_what_is_expected() {
    let base = "{% extends \"frontdesk/layouts/base.html\" %}\n";
    for (file, text, expected) in [
        ("login.html", "<p>\n{% if x %}", "templates/login.html:2: "),
        (
            "a.html",
            "{% extends \"layouts/base.html\" %}\n{% block contnt %}{% endblock %}",
            "templates/a.html:2: Block `contnt` is not defined in any parent template. Its parents have the blocks aside, content, ",
        ),
        (
            "a.html",
            "\n{{ <form.feild form={form} /> }}",
            "templates/a.html:2: Unknown component `form.feild`. Did you mean form.field?",
        ),
        (
            "a.html",
            "{{ page_paht(to=\"/login\") }}",
            "templates/a.html:1: Unknown function `page_paht`. Did you mean page_path?",
        ),
        (
            "a.html",
            "{% extends \"layouts/bse.html\" %}",
            "templates/a.html:1: extends layouts/bse.html, which does not exist. Did you mean layouts/base.html?",
        ),
        (
            "a.html",
            "{% include \"components/eror.html\" %}",
            "templates/a.html:1: Unknown template `components/eror.html`. Did you mean components/error.html?",
        ),
        (
            "layouts/base.html",
            "{% extends \"layouts/base.html\" %}",
            "templates/layouts/base.html:1: extends itself. The original is named frontdesk/",
        ),
        ("readme.md", "x", "templates/readme.md: must end in .html (or in .txt below mail/)."),
        ("a.txt", "x", "templates/a.txt: must end in .html (or in .txt below mail/)."),
        (
            "frontdesk/home.html",
            "x",
            "templates/frontdesk/home.html: is in a folder whose name is reserved.",
        ),
    ] {
        let found = of_site(&[("layouts/x.html", base), (file, text)]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}\n{expected}");
    }
    let twice = "{% component a.b() %}{% endcomponent a.b %}";
    let found = of_site(&[("a.html", twice), ("b.html", twice)]);
    assert!(found.len() == 1 && found[0].contains("`a.b` is defined in both"), "{found:?}");
    assert!(of_site(&[("mail/new_device/subject.txt", "Hello"), ("x.html", base)]).is_empty());
}

#[test]
fn a_component_that_takes_other_parameters_is_refused_with_the_expected_ones() {
    let component = |parameters: &str| {
        let text = format!(
            "\n{{% component form.submit({parameters}) %}}x{{% endcomponent form.submit %}}"
        );
        of_site(&[("c.html", Box::leak(text.into_boxed_str()))])
    };
    for accepted in [
        "label: string, kind: string = \"primary\", wide: bool = false",
        "label, kind = \"quiet\", wide = false, @site, size: integer = 3",
    ] {
        assert_eq!(component(accepted), Vec::<String>::new(), "{accepted}");
    }
    for (parameters, expected) in [
        ("label: string", "lacks the parameter kind"),
        ("label, kind, wide = false", "requires kind, which callers may leave out"),
        ("label, kind: integer = 1, wide = false", "takes another type for kind"),
        ("label, kind = \"a\", wide = false, size", "requires the parameter size"),
    ] {
        let found = component(parameters);
        assert_eq!(found.len(), 1, "{parameters}: {found:?}");
        assert!(
            found[0].starts_with("templates/c.html:2: The component form.submit "),
            "{found:?}"
        );
        assert!(found[0].contains(expected), "{found:?}");
        let signature =
            "form.submit(label: string, kind: string = \"primary\", wide: bool = false)";
        assert!(found[0].contains(signature), "{found:?}");
    }
}

#[test]
fn the_folder_of_an_operator_is_the_strongest_layer() {
    let of_operator = |files: &[(&str, &'static str)]| Layers {
        templates: crate::folder::Layers {
            operator: Some((PathBuf::from("/look"), folder(files))),
            site: folder(&[("x.html", "site"), ("y.html", "site y")]),
            ..Default::default()
        },
        ..Layers::default()
    };
    let layers = of_operator(&[("x.html", "operator")]);
    let tera = load(&layers, &AssetUrls::default(), Catalog::own()).unwrap();
    let render = |name: &str| tera.render(name, &Context::new()).unwrap();
    assert_eq!((render("x.html"), render("site/x.html")), ("operator".into(), "site".into()));
    assert_eq!(render("y.html"), "site y");
    let found = problems(&of_operator(&[("sign_in/login.html", "{% if %}")]));
    assert_eq!((found[0].file.as_str(), found[0].line), ("/look/sign_in/login.html", Some(1)));
}

#[test]
fn a_mail_of_a_site_has_three_parts_and_a_name_that_the_outbox_takes() {
    let mail = |kind: &str, parts: &[&str]| {
        let names: Vec<String> = parts.iter().map(|part| format!("mail/{kind}/{part}")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        of_site(&files)
    };
    let all = ["subject.txt", "body.txt", "body.html"];
    assert_eq!(mail("late_fee", &all), Vec::<String>::new());
    // It replaces a mail of Frontdesk.
    assert_eq!(mail("new_device", &all[..1]), Vec::<String>::new());
    // No mail, but what mails include.
    assert_eq!(mail("parts", &["greeting.txt"]), Vec::<String>::new());
    let missing = " is missing: a mail consists of subject.txt, body.txt and body.html.";
    for (at, part) in all.iter().enumerate() {
        let others: Vec<&str> = all.iter().copied().filter(|other| other != part).collect();
        let found = mail("reminder", &others);
        assert_eq!(found.len(), 1, "{at}: {found:?}");
        assert!(found[0].starts_with(&format!("templates/mail/reminder/{part}")), "{found:?}");
        assert!(found[0].ends_with(missing), "{found:?}");
    }
    for kind in ["Reminder", "reminder2", "re-minder", "_x", "a__b"] {
        let found = mail(kind, &all);
        assert!(found.len() == 1 && found[0].contains("a wrong name"), "{kind}: {found:?}");
    }
}
