//! The links of a site to its home page, its support and its legal pages.

use lettre::Address;
use serde::Serialize;
use url::Url;

use super::parse::SettingsReader;
use super::public_url::PublicUrl;

/// The links of a site; each is `None` unless it is set. URLs are `https:` or `mailto:`; those of this site are paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteLinks {
    /// Where `/`, the logo and a sign-out lead. Not a `mailto:` URL.
    pub home: Option<String>,
    /// How users reach the people who run the site.
    pub support: Option<String>,
    /// The terms of use.
    pub terms: Option<String>,
    /// The privacy policy.
    pub privacy: Option<String>,
    /// Who runs the site.
    pub imprint: Option<String>,
}

/// What templates know of the site, as the value `site`.
#[derive(Clone, Debug, Serialize)]
pub struct SiteValues {
    /// Its name.
    pub name: String,
    /// The public URL.
    pub url: String,
    /// Where the logo leads.
    pub home_url: String,
    /// From the links of the settings.
    pub support_url: Option<String>,
    /// From the links of the settings.
    pub terms_url: Option<String>,
    /// From the links of the settings.
    pub privacy_url: Option<String>,
    /// From the links of the settings.
    pub imprint_url: Option<String>,
}

impl SiteValues {
    /// The values for pages, where paths lead to this site.
    pub(super) fn new(name: &str, public_url: &PublicUrl, links: &SiteLinks) -> Self {
        Self {
            name: name.to_owned(),
            url: public_url.origin().to_string(),
            home_url: links.home.clone().unwrap_or_else(|| "/".to_owned()),
            support_url: links.support.clone(),
            terms_url: links.terms.clone(),
            privacy_url: links.privacy.clone(),
            imprint_url: links.imprint.clone(),
        }
    }

    /// The values for mails, where paths need the public URL in front.
    pub fn for_mail(mut self) -> Self {
        let Ok(public_url) = Url::parse(&self.url) else { return self };
        let links = [
            &mut self.support_url,
            &mut self.terms_url,
            &mut self.privacy_url,
            &mut self.imprint_url,
        ];
        for link in links.into_iter().flatten().chain([&mut self.home_url]) {
            if link.starts_with('/')
                && let Ok(url) = public_url.join(link)
            {
                *link = url.into();
            }
        }
        self
    }
}

impl SiteLinks {
    /// The origin of the home page if it is not this site's.
    pub fn foreign_home(&self, public_url: &PublicUrl) -> Option<String> {
        let home = Url::parse(self.home.as_deref()?).ok()?.origin();
        (home != public_url.origin().origin()).then(|| home.ascii_serialization())
    }
}

pub(super) fn site_links(read: &mut SettingsReader<'_>, public_url: &PublicUrl) -> SiteLinks {
    SiteLinks {
        home: home(read, public_url),
        support: support(read),
        terms: page(read, "FRONTDESK_TERMS_URL", public_url),
        privacy: page(read, "FRONTDESK_PRIVACY_URL", public_url),
        imprint: page(read, "FRONTDESK_IMPRINT_URL", public_url),
    }
}

fn home(read: &mut SettingsReader<'_>, public_url: &PublicUrl) -> Option<String> {
    let name = "FRONTDESK_HOME_URL";
    let home = page(read, name, public_url)?;
    let url = public_url.origin().join(&home).ok()?;
    // `/` redirects to it.
    if url.origin() == public_url.origin().origin() && url.path() == "/" {
        read.problem(name, "leads to the path / of this site, which redirects to it. Use another path or URL, or remove it");
        return None;
    }
    Some(home)
}

/// A path of this site or an https URL.
fn page(read: &mut SettingsReader<'_>, name: &str, public_url: &PublicUrl) -> Option<String> {
    let text = read.text(name)?;
    let found = if text.starts_with('/') { path(text, public_url) } else { https(text) };
    if found.is_none() {
        let problem = format!(
            "is “{text}”, but must be an https URL like https://www.example.com, or a path of this site like /start"
        );
        read.problem(name, &problem);
    }
    found
}

fn support(read: &mut SettingsReader<'_>) -> Option<String> {
    let name = "FRONTDESK_SUPPORT_URL";
    let text = read.text(name)?;
    let found = https(text).or_else(|| mailto(text));
    if found.is_none() {
        let problem = format!(
            "is “{text}”, but must be an https URL, or mailto: and an email, like mailto:help@example.com"
        );
        read.problem(name, &problem);
    }
    found
}

/// The path as browsers read it, if it stays on this site: `//host` and `/\host` do not.
fn path(text: &str, public_url: &PublicUrl) -> Option<String> {
    if text.chars().any(|letter| letter.is_control() || letter == ' ') {
        return None;
    }
    let url = public_url.origin().join(text).ok()?;
    let stays = url.origin() == public_url.origin().origin() && !text.starts_with("//");
    let path = url[url::Position::BeforePath..].to_owned();
    (stays && path.starts_with('/') && !path.starts_with("//")).then_some(path)
}

fn https(text: &str) -> Option<String> {
    // `https:example.com` is valid for browsers, and hardly meant.
    if !text.to_ascii_lowercase().starts_with("https://") || text.chars().any(char::is_control) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    (url.has_host() && !has_user && !text.contains(' ')).then(|| url.into())
}

fn mailto(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_email = url.scheme() == "mailto" && url.path().parse::<Address>().is_ok();
    (is_email && !text.chars().any(|letter| letter.is_control() || letter == ' '))
        .then(|| url.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::{Config, ConfigErrors};

    fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let public = ("FRONTDESK_PUBLIC_URL", "https://desk.example.com");
        let all = [&[public], pairs].concat();
        let map: BTreeMap<String, String> =
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::from_map(&map)
    }

    #[test]
    fn links_are_https_urls_or_paths_of_the_site_and_support_may_be_an_email() {
        for (text, expected) in [
            ("/start", Some("/start")),
            ("/start?a=b#c", Some("/start?a=b#c")),
            ("https://www.example.com", Some("https://www.example.com/")),
            ("https://bücher.example/a", Some("https://xn--bcher-kva.example/a")),
            ("https://www.example.com/a b", None),
            ("http://www.example.com", None),
            ("//evil.example", None),
            ("/\\evil.example", None),
            ("https:evil.example", None),
            ("https://", None),
            ("https://user:secret@www.example.com", None),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("www.example.com", None),
            ("start", None),
        ] {
            for name in ["HOME", "TERMS", "PRIVACY", "IMPRINT"] {
                let name = format!("FRONTDESK_{name}_URL");
                match (config(&[(&name, text)]), expected) {
                    (Ok(config), Some(expected)) => {
                        let links = config.links;
                        let all = [links.home, links.terms, links.privacy, links.imprint];
                        let found: Vec<&str> = all.iter().flatten().map(String::as_str).collect();
                        assert_eq!(found, [expected], "{name} {text}");
                    }
                    (Err(errors), None) => {
                        let errors = errors.to_string();
                        assert!(errors.contains(&format!("{name} is “{text}”")), "{errors}");
                    }
                    (found, _) => panic!("{name} {text}: {found:?}"),
                }
            }
        }
        for (text, is_valid) in [
            ("https://help.example.com/form", true),
            ("mailto:help@example.com", true),
            ("mailto:help@example.com?subject=Sign-in", true),
            ("mailto:help", false),
            ("help@example.com", false),
            ("/help", false),
            ("http://help.example.com", false),
            ("tel:+1-201-555-0123", false),
        ] {
            assert_eq!(config(&[("FRONTDESK_SUPPORT_URL", text)]).is_ok(), is_valid, "{text}");
        }
    }

    #[test]
    fn the_home_page_is_not_the_path_that_redirects_to_it() {
        for text in
            ["/", "/?a", "/#a", "/.", "https://desk.example.com", "https://DESK.example.com/?x"]
        {
            let errors = config(&[("FRONTDESK_HOME_URL", text)]).unwrap_err().to_string();
            assert!(errors.contains("FRONTDESK_HOME_URL leads to the path /"), "{text}: {errors}");
        }
        for (text, foreign) in [
            ("/start", None),
            ("https://desk.example.com/start", None),
            ("https://www.example.com/", Some("https://www.example.com")),
            ("https://desk.example.com:8443/", Some("https://desk.example.com:8443")),
        ] {
            let config = config(&[("FRONTDESK_HOME_URL", text)]).unwrap();
            assert_eq!(config.links.foreign_home(&config.public_url).as_deref(), foreign, "{text}");
        }
    }

    #[test]
    fn paths_are_urls_in_mails() {
        let config = config(&[("FRONTDESK_TERMS_URL", "/terms")]).unwrap();
        assert_eq!(config.site().terms_url.as_deref(), Some("/terms"));
        let in_mail = config.site().for_mail();
        assert_eq!(in_mail.terms_url.as_deref(), Some("https://desk.example.com/terms"));
        assert_eq!(in_mail.home_url, "https://desk.example.com/");
    }
}
