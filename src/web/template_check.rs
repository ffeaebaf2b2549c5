//! Renders the samples of all pages and mails, and checks the results.

use std::collections::BTreeSet;

use serde_json::Value;

use super::html_check::{self, MarkupProblem};
use super::page_templates::PageTemplates;
use crate::folder::FileProblem;
use crate::templates::{
    Layers, MailTemplates, Sample, problems_in, samples, samples_without_template,
};

/// In place of what users type, for subjects.
const MARKER: &str = "typed-by-a-user";
/// The values of mails that users type or choose.
const TYPED: [&str; 3] = ["name", "new_email", "device"];

/// What is wrong with the templates, each once, although several samples show it.
pub fn problems(
    layers: &Layers,
    pages: &PageTemplates,
    mails: &MailTemplates,
) -> BTreeSet<FileProblem> {
    let mut found = BTreeSet::new();
    for (path, template) in samples_without_template(layers) {
        let message = format!("is the sample of no template: there is no {template}");
        found.insert(FileProblem { file: layers.file(&path), line: None, message });
    }
    for sample in samples(layers) {
        let html = if sample.is_mail() {
            found.extend(subject_problem(layers, mails, &sample));
            mails.render_sample(&sample).map(|[_, _, html]| html)
        } else {
            pages.render_sample(&sample)
        };
        match html {
            Err(error) => found.extend(problems_in(layers, &error)),
            Ok(html) => {
                // The policy of the pages for developers allows frames.
                let is_page = Layers::is_own(&sample.page) && !sample.page.starts_with("dev_");
                let problems = html_check::problems(&html, is_page);
                found.extend(problems.iter().map(|problem| locate(layers, &sample, problem)));
            }
        }
    }
    found
}

/// The file and line of a tag. Values of the page may be part of the tag, so its beginning is enough.
fn locate(layers: &Layers, sample: &Sample, problem: &MarkupProblem) -> FileProblem {
    let beginning = problem.tag.split(['=', '>']).next().unwrap_or_default();
    let place = layers.find(&problem.tag).or_else(|| layers.find(beginning));
    let page = if sample.is_mail() {
        layers.strongest(&format!("{}/body.html", sample.page))
    } else {
        layers.strongest(&sample.page)
    };
    let (file, line) = place.map_or((page, None), |(file, line)| (file, Some(line)));
    let message = format!("{} ({})", problem.message, problem.tag);
    FileProblem { file, line, message }
}

/// A subject must not contain what a user typed: an attacker could send any text to anyone.
fn subject_problem(layers: &Layers, mails: &MailTemplates, sample: &Sample) -> Option<FileProblem> {
    let mut marked = sample.clone();
    marked.values.entry("name").or_insert_with(|| MARKER.into());
    for name in TYPED {
        if let Some(value @ Value::String(_)) = marked.values.get_mut(name) {
            *value = MARKER.into();
        }
    }
    let [subject, ..] = mails.render_sample(&marked).ok()?;
    let name = format!("{}/subject.txt", sample.page);
    subject.contains(MARKER).then(|| FileProblem {
        file: layers.strongest(&name),
        line: Some(1),
        message: format!(
            "the subject contains text that a user typed: use none of {}",
            TYPED.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::*;
    use crate::config::{ColorScheme, Config};
    use crate::look::Look;
    use crate::templates::{Folder, Templates};
    use crate::web::assets::Assets;

    /// What is wrong with Frontdesk's templates and these of a site.
    fn found(files: &[(&str, &'static str)]) -> Vec<String> {
        let site: Folder =
            files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().into())).collect();
        let layers = Layers::of_site(&site);
        let assets = Assets::load(&Folder::new(), ColorScheme::Auto).unwrap();
        let mut globals = PageTemplates::globals();
        globals.insert("site", &Config::from_map(&BTreeMap::new()).unwrap().site());
        globals.insert("look", &Look::default());
        let templates = Templates::load(layers.clone(), assets.urls(), globals);
        let templates = Arc::new(templates.unwrap());
        let mails = MailTemplates::new(Arc::clone(&templates));
        let pages = PageTemplates::new(templates, Vec::new(), false);
        problems(&layers, &pages, &mails).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_page_and_mail_has_samples_and_they_have_no_mistakes() {
        assert_eq!(found(&[]), Vec::<String>::new());
        let layers = Layers::default();
        let sampled: BTreeSet<String> =
            samples(&layers).into_iter().map(|sample| sample.page).collect();
        let is_part = |name: &str| {
            ["layouts/", "components/", "mail/"].iter().any(|folder| name.starts_with(folder))
        };
        let pages: BTreeSet<String> =
            layers.names().into_iter().filter(|name| !is_part(name)).collect();
        let of_pages = sampled.iter().filter(|page| !page.starts_with("mail/")).cloned();
        assert_eq!(of_pages.collect::<BTreeSet<_>>(), pages);
        assert!(samples(&layers).len() > 70, "{}", samples(&layers).len());
    }

    #[test]
    fn mistakes_of_a_site_are_found_with_file_and_line() {
        let login = "{% extends \"frontdesk/sign_in/login.html\" %}\n";
        let page = |text: &str| -> &'static str { format!("{login}{text}").leak() };
        for (file, text, expected) in [
            (
                "sign_in/login.html",
                page("{% block title %}{{ no_field }}{% endblock %}"),
                "templates/sign_in/login.html:2: ",
            ),
            (
                "sign_in/login.html",
                page("\n{% block aside %}<div><b>x</div>{% endblock %}"),
                "templates/sign_in/login.html:3: <b> is not closed (<b>)",
            ),
            (
                "sign_in/login.html",
                page("{% block aside %}<input name=\"x\">{% endblock %}"),
                "templates/sign_in/login.html:2: the form control has no label",
            ),
            (
                "sign_in/login.html",
                page("{% block aside %}<form method=\"post\" action=\"/x\"></form>{% endblock %}"),
                "templates/sign_in/login.html:2: the form has no hidden field",
            ),
            (
                "layouts/base.html",
                "{% extends \"frontdesk/layouts/base.html\" %}\n{% block head %}<style>a {}</style>{% endblock %}",
                "templates/layouts/base.html:2: a style sheet in the page",
            ),
            (
                "mail/new_device/subject.txt",
                "Hello {{ name }}",
                "templates/mail/new_device/subject.txt:1: the subject contains text that a user typed",
            ),
        ] {
            let found = found(&[(file, text)]);
            assert!(!found.is_empty(), "{text}");
            assert!(found.iter().all(|one| one.starts_with(expected)), "{expected}\n{found:?}");
        }
        let samples = ["samples/notez.empty.json", "samples/mail/remindre.json"];
        let found = found(&samples.map(|path| (path, "{}")));
        for (path, template) in samples.iter().zip(["notez.html", "mail/remindre/subject.txt"]) {
            let expected = format!("{path}: is the sample of no template: there is no {template}");
            assert!(found.contains(&expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_mail_of_a_site_is_checked_with_its_sample() {
        let mail = |subject: &'static str, html: &'static str| {
            found(&[
                ("mail/reminder/subject.txt", subject),
                (
                    "mail/reminder/body.txt",
                    "{% extends \"mail/layout.txt\" %}\n{% block content %}{{ text }}{% endblock %}",
                ),
                ("mail/reminder/body.html", html),
                ("samples/mail/reminder.json", "{\"text\": \"Milk\"}"),
            ])
        };
        let html = "{% extends \"mail/layout.html\" %}\n{% block title %}A{% endblock %}{% block content %}<p>{{ text }}</p>{% endblock %}";
        assert_eq!(mail("Reminder", html), Vec::<String>::new());
        let missing = mail("Reminder", "{{ no_field }}");
        assert!(missing[0].starts_with("templates/mail/reminder/body.html:1: "), "{missing:?}");
        let typed = mail("Reminder for {{ name }}", html);
        assert!(typed[0].contains("the subject contains text that a user typed"), "{typed:?}");
    }

    #[test]
    fn a_script_of_a_site_is_for_its_own_pages() {
        let script = "{% extends \"frontdesk/layouts/base.html\" %}\n{% block head %}{% if is_site_page %}<script src=\"/x.js\"></script>{% endif %}{% endblock %}";
        assert_eq!(found(&[("layouts/base.html", script)]), Vec::<String>::new());
    }
}
