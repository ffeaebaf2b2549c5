//! A real browser: Chromium, driven through chromedriver by the few commands of W3C WebDriver that a person needs.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::port::free_port;
use super::raw;

/// The key under which WebDriver hands out elements (W3C WebDriver, 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// chromedriver; ended when dropped.
pub struct Driver {
    addr: String,
    child: Child,
}

/// A window of a browser with a profile of its own.
pub struct Window<'a> {
    driver: &'a Driver,
    session: String,
    base: String,
}

impl Driver {
    pub fn start() -> Self {
        let port = free_port();
        let child = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (script/bootstrap --test)");
        let driver = Self { addr: format!("127.0.0.1:{port}"), child };
        let began = Instant::now();
        while driver.try_call("GET", "/status", &Value::Null).is_none() {
            assert!(began.elapsed() < Duration::from_secs(20), "chromedriver did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        driver
    }

    /// Opens a browser that knows nothing and runs no script of pages.
    pub fn window(&self, base: &str, width: u32) -> Window<'_> {
        self.open(base, width, 2)
    }

    /// The same with scripts, for a checker that is one.
    pub fn scripted_window(&self, base: &str) -> Window<'_> {
        self.open(base, 1200, 1)
    }

    fn open(&self, base: &str, width: u32, javascript: u8) -> Window<'_> {
        let mut arguments = vec![
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
        arguments.push(format!("--window-size={width},900"));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "args": arguments,
                "prefs": { "profile.managed_default_content_settings.javascript": javascript },
            },
        }}});
        let made = self.call("POST", "/session", &wanted);
        let session = made["sessionId"].as_str().expect("a session").to_owned();
        let window = Window { driver: self, session, base: format!("http://{base}") };
        // An element of the page that a click leads to is waited for.
        window.call("POST", "/timeouts", &json!({ "implicit": 10_000 }));
        window
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        );
        let answer = raw(&self.addr, request.as_bytes()).ok()?;
        let value: Value = serde_json::from_str(&answer.body).ok()?;
        Some(json!({ "status": answer.status, "value": value["value"] }))
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_call(method, path, body).expect("chromedriver answers");
        assert_eq!(answer["status"], 200, "{method} {path}: {answer}");
        answer["value"].clone()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Window<'_> {
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.driver.call(method, &format!("/session/{}{path}", self.session), body)
    }

    pub fn open(&self, path: &str) {
        self.call("POST", "/url", &json!({ "url": format!("{}{path}", self.base) }));
    }

    pub fn path(&self) -> String {
        let url = self.call("GET", "/url", &Value::Null);
        url.as_str().expect("a URL").trim_start_matches(&self.base).to_owned()
    }

    /// Waits until the window has gone to `path`.
    pub fn wait_for_path(&self, path: &str) {
        let began = Instant::now();
        while self.path() != path {
            let late = began.elapsed() > Duration::from_secs(10);
            assert!(!late, "at {} instead of {path}: {}", self.path(), self.text("body"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn title(&self) -> String {
        self.call("GET", "/title", &Value::Null).as_str().expect("a title").to_owned()
    }

    fn find(&self, css: &str) -> String {
        let found =
            self.call("POST", "/element", &json!({ "using": "css selector", "value": css }));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    pub fn count(&self, css: &str) -> usize {
        let found =
            self.call("POST", "/elements", &json!({ "using": "css selector", "value": css }));
        found.as_array().expect("a list").len()
    }

    pub fn fill(&self, field: &str, text: &str) {
        let element = self.find(&format!("#{field}"));
        self.call("POST", &format!("/element/{element}/clear"), &json!({}));
        self.call("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    pub fn click(&self, css: &str) {
        let element = self.find(css);
        self.call("POST", &format!("/element/{element}/click"), &json!({}));
    }

    pub fn text(&self, css: &str) -> String {
        let began = Instant::now();
        loop {
            let path = format!("/session/{}/element/{}/text", self.session, self.find(css));
            let answer = self.driver.try_call("GET", &path, &Value::Null).expect("an answer");
            if answer["status"] == 200 {
                return answer["value"].as_str().expect("a text").to_owned();
            }
            // The page has gone on since the element was found.
            let is_stale = answer["value"]["error"] == "stale element reference";
            assert!(is_stale && began.elapsed() < Duration::from_secs(10), "{css}: {answer}");
        }
    }

    /// The id of the element that has the focus.
    pub fn focused(&self) -> String {
        let active = self.call("GET", "/element/active", &Value::Null);
        let element = active[ELEMENT].as_str().expect("an element");
        let id = self.call("GET", &format!("/element/{element}/attribute/id"), &Value::Null);
        id.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page, past its content security policy.
    pub fn run(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The same, until it calls back.
    pub fn run_async(&self, script: &str) -> Value {
        self.call("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Changes how wide the page is, and whether the person prefers dark.
    pub fn emulate(&self, width: u32, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        for (command, parameters) in [
            (
                "Emulation.setEmulatedMedia",
                json!({ "features": [
                    { "name": "prefers-color-scheme", "value": scheme },
                    // A picture of a color on its way says nothing.
                    { "name": "prefers-reduced-motion", "value": "reduce" },
                ] }),
            ),
            (
                "Emulation.setDeviceMetricsOverride",
                json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false }),
            ),
        ] {
            self.call(
                "POST",
                "/goog/cdp/execute",
                &json!({ "cmd": command, "params": parameters }),
            );
        }
    }

    /// What it looks like, as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let encoded = self.call("GET", "/screenshot", &Value::Null);
        let encoded = encoded.as_str().expect("a picture");
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).expect("base64")
    }

    /// The sealed session cookie.
    pub fn session_cookie(&self) -> Option<String> {
        let cookies = self.call("GET", "/cookie", &Value::Null);
        let found = cookies.as_array()?.iter().find(|cookie| cookie["name"] == "session")?;
        Some(found["value"].as_str()?.to_owned())
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        let path = format!("/session/{}", self.session);
        self.driver.try_call("DELETE", &path, &Value::Null);
    }
}
