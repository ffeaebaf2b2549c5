//! Every mail and every `--help`, compared with the files in `tests/snapshots/`. A missing, changed or surplus file
//! fails. After a deliberate change, run with `INSTA_UPDATE=always` and review the difference in git.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use frontdesk::config::Config;
use frontdesk::look::Look;
use frontdesk::mail::render::MailRenderer;
use frontdesk::templates::{AssetUrls, Layers, MailTemplates, Templates};

/// The names by which `samples.rs` imports its types.
mod mail {
    pub use frontdesk::mail::{Message, message};
}

mod role {
    pub use frontdesk::role::Role;
}

#[path = "../src/mail/samples.rs"]
mod samples;

/// The kinds of `Message`, taken from the type: serde lists them in the error for an unknown one.
fn kinds() -> BTreeSet<String> {
    let unknown = serde_json::from_str::<mail::Message>(r#"{"kind": "unknown"}"#);
    let error = unknown.expect_err("no kind has this name").to_string();
    let expected = error.split_once("expected one of ").expect("a list of kinds").1;
    // The mails of a site have templates of their own.
    let kinds = expected.split('`').skip(1).step_by(2).filter(|kind| *kind != "of_site");
    kinds.map(str::to_owned).collect()
}

fn compare(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The names of the snapshots that begin with `prefix`.
fn stored(prefix: &str) -> BTreeSet<String> {
    let files = fs::read_dir("tests/snapshots").expect("the folder of snapshots");
    files
        .map(|file| file.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter_map(|name| Some(name.strip_suffix(".snap")?.to_owned()))
        .filter(|name| name.starts_with(prefix))
        .collect()
}

fn renderer() -> MailRenderer {
    let config = Config::from_map(&BTreeMap::from([
        ("FRONTDESK_PUBLIC_URL".to_owned(), "http://127.0.0.1:8080".to_owned()),
        ("FRONTDESK_SITE_NAME".to_owned(), "Frontdesk".to_owned()),
    ]))
    .expect("valid settings");
    let globals = tera::Context::new();
    let templates = Templates::load(Layers::default(), &AssetUrls::default(), globals);
    let templates = MailTemplates::new(Arc::new(templates.expect("valid templates")));
    MailRenderer::new(templates, config.site().for_mail(), Look::default(), &config.public_url)
}

#[test]
fn every_mail_matches_its_snapshot() {
    let renderer = renderer();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for message in samples::samples("Ada") {
        let count = counts.entry(message.kind().to_owned()).or_default();
        *count += 1;
        let letter = renderer.render(&message, "en").expect("a mail");
        let name = format!("mail_{}_{count}", message.kind());
        compare(&name, &format!("{}\n\n{}\n{}", letter.subject, letter.text, letter.html));
        names.insert(name);
    }
    let sampled: BTreeSet<String> = counts.into_keys().collect();
    assert_eq!(sampled, kinds(), "src/mail/samples.rs needs at least one message of each kind");
    assert_eq!(stored("mail_"), names, "snapshots of mails that no longer exist");
}

/// The samples of mails are what the templates get, so that `/dev/templates` and `template check` show real mails.
#[test]
fn every_mail_has_samples_with_exactly_its_values() {
    let renderer = renderer();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for message in samples::samples("Ada") {
        let kind = message.kind();
        let count = counts.entry(kind.to_owned()).or_default();
        *count += 1;
        for (state, combined) in [(count.to_string(), 1), ("combined".to_owned(), 3)] {
            let mut values = renderer.values(&message, combined);
            // Name, links and colors are those of the site that renders the sample.
            let map = values.as_object_mut().expect("an object");
            map.retain(|name, _| !["site", "look"].contains(&name.as_str()));
            expected.insert(format!("{kind}.{state}.json"), values);
        }
    }
    let folder = Path::new("templates/samples/mail");
    let names = |folder: &Path| -> BTreeSet<String> {
        let files = fs::read_dir(folder).into_iter().flatten();
        files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect()
    };
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::create_dir_all(folder).expect("a folder");
        for name in names(folder).iter().filter(|name| !expected.contains_key(*name)) {
            fs::remove_file(folder.join(name)).expect("a file");
        }
        for (name, values) in &expected {
            let text = serde_json::to_string_pretty(values).expect("JSON") + "\n";
            fs::write(folder.join(name), text).expect("a writable file");
        }
    }
    assert_eq!(names(folder), expected.keys().cloned().collect());
    for (name, values) in &expected {
        let text = fs::read_to_string(folder.join(name)).expect("a readable file");
        let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(found, *values, "{name}");
    }
}

#[test]
fn every_help_text_matches_its_snapshot() {
    // Without this, clap asks the terminal for its width. `to_string` leaves out the colors.
    let mut command = frontdesk::cli::command().term_width(100);
    command.build();
    let mut names = BTreeSet::new();
    compare_help(&mut command, &mut names);
    assert!(names.contains("help_frontdesk_user_import"), "{names:?}");
    assert_eq!(stored("help_"), names, "snapshots of commands that no longer exist");
}

fn compare_help(command: &mut clap::Command, names: &mut BTreeSet<String>) {
    let path = command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "_");
    let name = format!("help_{path}");
    compare(&name, &command.render_long_help().to_string());
    names.insert(name);
    for subcommand in command.get_subcommands_mut().filter(|one| one.get_name() != "help") {
        compare_help(subcommand, names);
    }
}
