//! A real browser: Chromium, driven through chromedriver with a few commands of W3C WebDriver.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::port::free_port;
use super::raw;

/// The key of an element reference (W3C WebDriver, 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The Tab key in WebDriver.
const TAB: char = '\u{E004}';

/// A running chromedriver; killed when dropped.
pub struct Driver {
    addr: String,
    child: Child,
}

/// A browser window with its own profile.
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
            // Of the browser.
            .env("LANGUAGE", "en_US")
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

    /// Opens a browser with a new profile and JavaScript disabled.
    pub fn window(&self, base: &str, width: u32) -> Window<'_> {
        self.open(base, width, json!({ "profile.managed_default_content_settings.javascript": 2 }))
    }

    /// Opens a browser that accepts no cookies.
    pub fn window_without_cookies(&self, base: &str) -> Window<'_> {
        self.open(base, 1200, json!({ "profile.default_content_setting_values.cookies": 2 }))
    }

    /// Opens a browser with a new profile and JavaScript enabled, for axe-core.
    pub fn scripted_window(&self, base: &str) -> Window<'_> {
        self.open(base, 1200, json!({}))
    }

    fn open(&self, base: &str, width: u32, preferences: Value) -> Window<'_> {
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
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "args": arguments,
                "prefs": preferences,
            },
        }}});
        let created = self.call("POST", "/session", &capabilities);
        let session = created["sessionId"].as_str().expect("a session").to_owned();
        let window = Window { driver: self, session, base: format!("http://{base}") };
        // Finding an element waits for it for 10 seconds: a click may load a new page.
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
        let response = raw(&self.addr, request.as_bytes()).ok()?;
        let value: Value = serde_json::from_str(&response.body).ok()?;
        Some(json!({ "status": response.status, "value": value["value"] }))
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let response = self.try_call(method, path, body).expect("chromedriver responds");
        assert_eq!(response["status"], 200, "{method} {path}: {response}");
        response["value"].clone()
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

    /// Opens another tab and returns the handle of the former one.
    pub fn new_tab(&self) -> String {
        let former = self.call("GET", "/window", &Value::Null);
        let opened = self.call("POST", "/window/new", &json!({ "type": "tab" }));
        self.switch_to(opened["handle"].as_str().expect("a handle"));
        self.open("/account");
        former.as_str().expect("a handle").to_owned()
    }

    /// Switches to the tab with this handle.
    pub fn switch_to(&self, handle: &str) {
        self.call("POST", "/window", &json!({ "handle": handle }));
    }

    /// `back`, `forward` or `refresh`.
    pub fn go(&self, direction: &str) {
        self.call("POST", &format!("/{direction}"), &json!({}));
    }

    /// Two clicks with the mouse, 30 ms apart, which do not wait for the page that the first one requests.
    pub fn double_click(&self, css: &str) {
        let element = json!({ ELEMENT: self.find(css) });
        let (down, up) = (
            json!({ "type": "pointerDown", "button": 0 }),
            json!({ "type": "pointerUp", "button": 0 }),
        );
        let over =
            json!({ "type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": element });
        let pause = json!({ "type": "pause", "duration": 30 });
        let actions = json!({ "actions": [{
            "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" },
            "actions": [over, down, up, pause, down, up],
        }] });
        self.call("POST", "/actions", &actions);
    }

    pub fn path(&self) -> String {
        let url = self.call("GET", "/url", &Value::Null);
        url.as_str().expect("a URL").trim_start_matches(&self.base).to_owned()
    }

    /// Waits until the window shows `path`.
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

    /// Types a date (`MMDDYYYY`) and a time (`HHMMAM`) into `<input type="datetime-local">`, whose parts are in the order
    /// of the browser's language.
    pub fn fill_local_time(&self, field: &str, date: &str, time: &str) {
        let element = self.find(&format!("#{field}"));
        let text = format!("{date}{TAB}{time}");
        self.call("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Chooses a file in `<input type="file">`.
    pub fn choose_file(&self, field: &str, file: &Path) {
        let element = self.find(&format!("#{field}"));
        let text = json!({ "text": file.to_str().expect("a path in UTF-8") });
        self.call("POST", &format!("/element/{element}/value"), &text);
    }

    pub fn click(&self, css: &str) {
        let element = self.find(css);
        self.call("POST", &format!("/element/{element}/click"), &json!({}));
    }

    pub fn text(&self, css: &str) -> String {
        let began = Instant::now();
        loop {
            let path = format!("/session/{}/element/{}/text", self.session, self.find(css));
            let response = self.driver.try_call("GET", &path, &Value::Null).expect("a response");
            if response["status"] == 200 {
                return response["value"].as_str().expect("a text").to_owned();
            }
            // A new page has loaded since the element was found.
            let is_stale = response["value"]["error"] == "stale element reference";
            assert!(is_stale && began.elapsed() < Duration::from_secs(10), "{css}: {response}");
        }
    }

    /// The id of the element that has the focus.
    pub fn focused(&self) -> String {
        let active = self.call("GET", "/element/active", &Value::Null);
        let element = active[ELEMENT].as_str().expect("an element");
        let id = self.call("GET", &format!("/element/{element}/attribute/id"), &Value::Null);
        id.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page, which bypasses the content security policy.
    pub fn run(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a script in the page and waits for its callback.
    pub fn run_async(&self, script: &str) -> Value {
        self.call("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Sets the width of the viewport and the preferred color scheme.
    pub fn emulate(&self, width: u32, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        for (command, parameters) in [
            (
                "Emulation.setEmulatedMedia",
                json!({ "features": [
                    { "name": "prefers-color-scheme", "value": scheme },
                    // A screenshot during a color transition would be wrong.
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

    /// Renders the page as with the high-contrast themes of the operating system, until the next [`Self::emulate`].
    pub fn force_colors(&self) {
        let active = json!({ "features": [{ "name": "forced-colors", "value": "active" }] });
        let command = json!({ "cmd": "Emulation.setEmulatedMedia", "params": active });
        self.call("POST", "/goog/cdp/execute", &command);
    }

    /// A screenshot as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let encoded = self.call("GET", "/screenshot", &Value::Null);
        let encoded = encoded.as_str().expect("a screenshot");
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
