//! The Content-Security-Policy of a site's own pages: Frontdesk's with more sources. It has no effect on Frontdesk's
//! pages.

use std::panic::Location;

use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web;
use actix_web::{HttpMessage as _, HttpRequest};
use url::Url;

use super::headers;

/// The sources that a site's own pages may load from, beside its own style sheets and images.
///
/// There is no way to allow `'unsafe-inline'`, `'unsafe-eval'` or every host: with them, text of a user that reaches a
/// page unescaped could run as a script.
///
/// ```
/// let website = frontdesk::Website::new(frontdesk::Embedded::none())
///     .content_security_policy(|csp| csp.script_self().image_from("https://images.example"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ContentSecurityPolicy {
    /// Directive and source.
    sources: Vec<(&'static str, String)>,
    problems: Vec<String>,
}

impl ContentSecurityPolicy {
    /// Scripts of the site's `static/` folder.
    pub fn script_self(self) -> Self {
        self.with("script-src", "'self'")
    }

    /// `fetch`, event streams and WebSockets of scripts, to this site.
    pub fn connect_self(self) -> Self {
        self.with("connect-src", "'self'")
    }

    /// The same to another origin, as `https://api.example` or `wss://live.example`.
    #[track_caller]
    pub fn connect_to(self, origin: &str) -> Self {
        self.with_origin("connect-src", origin, &["https", "wss"])
    }

    /// Images of another origin.
    #[track_caller]
    pub fn image_from(self, origin: &str) -> Self {
        self.with_origin("img-src", origin, &["https"])
    }

    /// Images in `data:` URLs.
    pub fn image_data(self) -> Self {
        self.with("img-src", "data:")
    }

    /// Style sheets of another origin.
    #[track_caller]
    pub fn style_from(self, origin: &str) -> Self {
        self.with_origin("style-src", origin, &["https"])
    }

    /// Fonts of the site's `static/` folder.
    pub fn font_self(self) -> Self {
        self.with("font-src", "'self'")
    }

    /// Fonts of another origin.
    #[track_caller]
    pub fn font_from(self, origin: &str) -> Self {
        self.with_origin("font-src", origin, &["https"])
    }

    /// Audio and video of this site.
    pub fn media_self(self) -> Self {
        self.with("media-src", "'self'")
    }

    /// Audio and video of another origin.
    #[track_caller]
    pub fn media_from(self, origin: &str) -> Self {
        self.with_origin("media-src", origin, &["https"])
    }

    /// Frames with pages of another origin.
    #[track_caller]
    pub fn frame_from(self, origin: &str) -> Self {
        self.with_origin("frame-src", origin, &["https"])
    }

    /// Forms that lead to another origin, also by a redirect.
    #[track_caller]
    pub fn form_to(self, origin: &str) -> Self {
        self.with_origin("form-action", origin, &["https"])
    }

    /// Workers of the site's `static/` folder.
    pub fn worker_self(self) -> Self {
        self.with("worker-src", "'self'")
    }

    /// A web app manifest of the site.
    pub fn manifest_self(self) -> Self {
        self.with("manifest-src", "'self'")
    }

    fn with(mut self, directive: &'static str, source: &str) -> Self {
        self.sources.push((directive, source.to_owned()));
        self
    }

    #[track_caller]
    fn with_origin(mut self, directive: &'static str, origin: &str, schemes: &[&str]) -> Self {
        if let Some(origin) = parse_origin(origin, schemes) {
            return self.with(directive, &origin);
        }
        let place = Location::caller();
        self.problems.push(format!(
            "{}:{}: “{origin}” cannot be a source of {directive}. Write scheme and host, without * and path, like {}://images.example.",
            place.file(),
            place.line(),
            schemes[0]
        ));
        self
    }

    /// What is wrong with the sources.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// `policy`, which is one of Frontdesk's, with the sources. `None`: it stays as it is.
    pub(crate) fn extend(&self, policy: &str) -> Option<HeaderValue> {
        if self.sources.is_empty() {
            return None;
        }
        let mut directives: Vec<String> = policy.split("; ").map(str::to_owned).collect();
        for (name, source) in &self.sources {
            let is_same = |directive: &&mut String| directive.split(' ').next() == Some(name);
            match directives.iter_mut().find(is_same) {
                Some(directive) if directive.split(' ').any(|one| one == source) => {}
                Some(directive) => *directive = format!("{directive} {source}"),
                None => directives.push(format!("{name} {source}")),
            }
        }
        HeaderValue::from_str(&directives.join("; ")).ok()
    }
}

/// In the extensions of a request: its answer is one of Frontdesk's pages, such as the one that asks for the password before
/// a handler of the site runs.
#[derive(Clone, Copy, Debug)]
pub struct FrontdeskPage;

/// The policy of the site for what is neither a page of Frontdesk nor changed by a handler. `None`: it adds no sources.
pub fn of_site(request: &HttpRequest) -> Option<HeaderValue> {
    extended(request, headers::BASE_POLICY)
}

/// `policy` with the sources of the site.
fn extended(request: &HttpRequest, policy: &str) -> Option<HeaderValue> {
    request.app_data::<web::Data<ContentSecurityPolicy>>()?.extend(policy)
}

/// Gives the response of a site's handler the site's policy, unless the handler has set another one, or a page of
/// Frontdesk is shown in its place.
pub fn extend<B>(response: &mut ServiceResponse<B>) {
    if response.request().extensions().get::<FrontdeskPage>().is_some() {
        return;
    }
    let base = match response.headers().get(header::CONTENT_SECURITY_POLICY) {
        None => Some(headers::BASE_POLICY),
        Some(current) => current.to_str().ok().filter(|_| headers::is_own(current)),
    };
    if let Some(policy) = base.and_then(|base| extended(response.request(), base)) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// The origin, if it has one of the schemes and one host.
fn parse_origin(text: &str, schemes: &[&str]) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_one_host = url.host_str().is_some_and(|host| !host.contains(['*', ';', ',', '\'']));
    let origin =
        format!("{}://{}", url.scheme(), &url[url::Position::BeforeHost..url::Position::AfterPort]);
    let is_origin = text.trim_end_matches('/').eq_ignore_ascii_case(&origin);
    (schemes.contains(&url.scheme()) && is_one_host && is_origin).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_added_to_the_policy_once() {
        let policy = ContentSecurityPolicy::default()
            .script_self()
            .image_from("https://images.example/")
            .image_from("https://images.example")
            .connect_to("wss://live.example:8443")
            .form_to("https://pay.example");
        let base = "default-src 'none'; script-src 'self'; img-src 'self'; form-action 'self'";
        assert_eq!(
            policy.extend(base).unwrap(),
            "default-src 'none'; script-src 'self'; img-src 'self' https://images.example; form-action 'self' https://pay.example; connect-src wss://live.example:8443"
        );
        assert!(policy.problems().is_empty());
        assert_eq!(ContentSecurityPolicy::default().extend(base), None);
    }

    #[test]
    fn a_source_is_one_origin_with_tls() {
        for source in [
            "*",
            "https:",
            "https://*",
            "https://*.example.com",
            "http://images.example",
            "ws://images.example",
            "wss://images.example",
            "data:",
            "'unsafe-inline'",
            "https://images.example/a/path",
            "https://images.example?x",
            "https://images.example; script-src *",
            "https://images.example https://other.example",
            "https://user@images.example",
            "images.example",
            "",
        ] {
            let policy = ContentSecurityPolicy::default().image_from(source);
            assert_eq!(policy.problems().len(), 1, "{source}");
            assert!(policy.problems()[0].starts_with("src/web/site_policy.rs:"), "{source}");
            assert!(policy.problems()[0].contains(&format!("“{source}” cannot be")), "{source}");
            assert!(policy.extend("default-src 'none'").is_none());
        }
    }
}
