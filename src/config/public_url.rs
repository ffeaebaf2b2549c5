//! The public URL. Links in mails and the origin for CSRF checks are derived from it, never from a request.

use std::fmt;

use url::Url;

use super::parse::SettingsReader;

/// The URL by which browsers reach the site: scheme, host and port.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The URL, with `/` as its path.
    pub fn origin(&self) -> &Url {
        &self.0
    }

    /// Whether browsers connect over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host. Passwords must not contain it, and it is the name in EHLO and Message-ID.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether the host is a loopback address or `localhost`.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }
}

pub(super) fn public_url(read: &mut SettingsReader<'_>) -> PublicUrl {
    let name = "FRONTDESK_PUBLIC_URL";
    let url: Url =
        read.parsed(name, "http://127.0.0.1:8080", "a URL like https://desk.example.com");
    let is_origin = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let public = PublicUrl(url);
    if !matches!(public.0.scheme(), "http" | "https") || public.0.host().is_none() || !is_origin {
        read.problem(
            name,
            "must consist of scheme, host and port only, like https://desk.example.com",
        );
    } else if !public.is_https() && !public.is_loopback() {
        read.problem(name, "must begin with https:// unless the host is localhost, because browsers send the session cookie to it");
    }
    public
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}
