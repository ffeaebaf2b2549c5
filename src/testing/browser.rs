//! A browser without JavaScript.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::cookie::Cookie;
use form_urlencoded::Serializer;
use ureq::Agent;
use ureq::http::Request;
use url::Url;

use super::accounts;
use super::html::{self, HtmlForm};
use super::postgres::block_on;
use super::site::Site;

const FORM: &str = "application/x-www-form-urlencoded";
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0 frontdesk-testing";
/// How long a response may take.
const LIMIT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 10;
/// The longest body of a response in bytes.
const MAX_BODY: u64 = 256 * 1024 * 1024;

/// A response of the server.
///
/// ```no_run
/// # let server = frontdesk::testing::TestServer::start("");
/// let response = server.browser().get("/notes");
/// assert_eq!((response.status(), response.location()), (303, "/login?next=%2Fnotes"));
/// ```
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    text: String,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The `Location` header; empty if there is none.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn is_page(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
    }
}

/// A browser without JavaScript, with cookies of its own. It follows redirects only in [`Browser::follow`]. It sends
/// the headers with which browsers say where a request comes from (`Sec-Fetch-Site`, `Origin`).
///
/// ```no_run
/// # let server = frontdesk::testing::TestServer::start("");
/// let ada = server.browser().sign_in("ada@example.com");
/// ada.get("/notes");
/// let list = ada.follow(ada.submit("/notes", [("body", "Milk")]));
/// assert!(list.text().contains("Milk"));
/// ```
pub struct Browser {
    url: String,
    site: Arc<Site>,
    agent: Agent,
    cookies: Mutex<BTreeMap<String, String>>,
    /// The path and the text of the page that it shows.
    page: Mutex<(String, String)>,
}

impl Browser {
    pub(super) fn new(url: &str, site: Arc<Site>) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(USER_AGENT)
            .timeout_global(Some(LIMIT))
            .build();
        let (agent, url) = (Agent::new_with_config(config), url.to_owned());
        Self { url, site, agent, cookies: Mutex::default(), page: Mutex::default() }
    }

    /// Signs in as the user with this email, without the sign-in page. If there is no such user, one is created,
    /// with a verified email and the password [`PASSWORD`](super::PASSWORD). This writes to the database only: no
    /// hook of the site is called. To test hooks, open `/register` or `/login` and submit the form.
    #[track_caller]
    pub fn sign_in(self, email: &str) -> Self {
        let pool = &self.site.database.own_pool;
        let signed_in = block_on(accounts::sign_in(pool, &self.site.settings, email));
        let (name, value) =
            signed_in.unwrap_or_else(|error| panic!("sign-in of {email}: {error:#}"));
        lock(&self.cookies).insert(name, value);
        self
    }

    /// Gets the cookies of another browser in place of its own.
    pub(super) fn copy_cookies(&self, other: &Self) {
        lock(&self.cookies).clone_from(&lock(&other.cookies));
    }

    /// The value of a cookie as the server has set it.
    pub fn cookie(&self, name: &str) -> Option<String> {
        lock(&self.cookies).get(name).cloned()
    }

    /// Sets a cookie.
    pub fn set_cookie(&self, name: &str, value: &str) {
        lock(&self.cookies).insert(name.to_owned(), value.to_owned());
    }

    /// Opens a page.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.navigate("GET", path, Vec::new())
    }

    /// Sends a form with these fields only. [`Browser::submit`] also sends the hidden fields of a page.
    #[track_caller]
    pub fn post<'a>(&self, path: &str, fields: impl AsRef<[(&'a str, &'a str)]>) -> Response {
        self.navigate("POST", path, encode(fields.as_ref()).into_bytes())
    }

    /// Opens the page that a response redirects to, also several times in a row. A response that redirects nowhere
    /// is returned as it is.
    #[track_caller]
    pub fn follow(&self, response: Response) -> Response {
        let mut response = response;
        for _ in 0..MAX_REDIRECTS {
            let location = response.location().to_owned();
            if !(300..400).contains(&response.status) || location.is_empty() {
                return response;
            }
            let path = self.path_of(&location);
            let path = path.unwrap_or_else(|| panic!("{location} is not a page of the site"));
            response = self.get(&path);
        }
        panic!(
            "more than {MAX_REDIRECTS} redirects; the last one leads to {}",
            response.location()
        );
    }

    /// Fills in the form with this `action` on the page that was opened last, and sends it, with its hidden fields
    /// and the values that the page has filled in. Panics if the page has no such form, or the form no such field.
    #[track_caller]
    pub fn submit<'a>(&self, action: &str, fields: impl AsRef<[(&'a str, &'a str)]>) -> Response {
        let fields = fields.as_ref();
        let (path, page) = lock(&self.page).clone();
        let forms = html::forms(&page);
        let actions: Vec<&str> = forms.iter().map(|form| form.action.as_str()).collect();
        let Some(form) = forms.iter().find(|form| form.action == action) else {
            panic!("{path} has no form with action=\"{action}\"; it has {actions:?}");
        };
        let body = encode(&filled_in(form, fields));
        let target = if action.is_empty() { &path } else { action };
        let target = self.path_of(target);
        let target = target.unwrap_or_else(|| panic!("{action} is not a page of the site"));
        if form.is_post {
            return self.navigate("POST", &target, body.into_bytes());
        }
        let target = target.split('?').next().unwrap_or_default();
        self.navigate("GET", &format!("{target}?{body}"), Vec::new())
    }

    /// Sends any request, with these headers and the cookies of the browser. For what a browser without JavaScript
    /// cannot send.
    #[track_caller]
    pub fn request<'a>(
        &self,
        method: &str,
        path: &str,
        headers: impl AsRef<[(&'a str, &'a str)]>,
        body: &[u8],
    ) -> Response {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers.as_ref() {
            request = request.header(*name, *value);
        }
        let cookies: Vec<String> =
            lock(&self.cookies).iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let response = match body {
            // Other methods say with `Content-Length: 0` that they have no body.
            [] if method == "GET" || method == "HEAD" => {
                request.body(()).map(|request| self.agent.run(request))
            }
            body => request.body(body).map(|request| self.agent.run(request)),
        };
        let response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        self.received(method, path, response)
    }

    #[track_caller]
    fn navigate(&self, method: &str, path: &str, body: Vec<u8>) -> Response {
        let mut headers = vec![
            ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
            ("Sec-Fetch-User", "?1"),
        ];
        if method == "POST" {
            headers.extend([
                ("Sec-Fetch-Site", "same-origin"),
                ("Origin", self.url.as_str()),
                ("Content-Type", FORM),
            ]);
        } else {
            headers.push(("Sec-Fetch-Site", "none"));
        }
        let response = self.request(method, path, headers, &body);
        if response.is_page() {
            *lock(&self.page) = (path.to_owned(), response.text.clone());
        }
        response
    }

    fn received(
        &self,
        method: &str,
        path: &str,
        mut response: ureq::http::Response<ureq::Body>,
    ) -> Response {
        let status = response.status().as_u16();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect();
        let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec();
        let body = body.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let set = headers.iter().filter(|(name, _)| name == "set-cookie");
        for cookie in set.filter_map(|(_, value)| Cookie::parse(value.as_str()).ok()) {
            let is_removed = cookie.max_age().is_some_and(|age| age.is_zero());
            let mut cookies = lock(&self.cookies);
            if is_removed {
                cookies.remove(cookie.name());
            } else {
                cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
            }
        }
        let text = text(&body);
        Response { status, headers, body, text }
    }

    /// The path and the query of a link to the site. `None`: it leads elsewhere.
    pub(super) fn path_of(&self, link: &str) -> Option<String> {
        let current = lock(&self.page).0.clone();
        let base = Url::parse(&self.url).ok()?;
        let link = base.join(&current).ok()?.join(link).ok()?;
        // Several servers of a test are one site, whatever their ports.
        let is_own = link.host() == base.host();
        is_own.then(|| link[url::Position::BeforePath..url::Position::AfterQuery].to_owned())
    }
}

/// What is sent: `fields` in place of the values on the page.
fn filled_in<'a>(form: &'a HtmlForm, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let names: Vec<&str> = form.fields.iter().map(|field| field.name.as_str()).collect();
    for (name, _) in fields {
        assert!(names.contains(name), "the form has no field {name}; it has {names:?}");
    }
    let is_given = |name: &str| fields.iter().any(|(given, _)| *given == name);
    let unchanged = form.fields.iter().filter(|field| !is_given(&field.name));
    let unchanged =
        unchanged.filter_map(|field| Some((field.name.as_str(), field.value.as_deref()?)));
    unchanged.chain(fields.iter().copied()).collect()
}

fn encode(fields: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
