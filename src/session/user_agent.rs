//! Describes a `User-Agent` header in words: "Firefox on Linux". It uses a small table of its own, because
//! the available parsers contain megabytes of regular expressions, mostly for bots. The header is
//! client-controlled: it helps users recognize their sessions but must not be used for security decisions.

use crate::language::Text;

/// The kind of device, for its icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A laptop or desktop computer.
    Laptop,
    /// A phone.
    Phone,
    /// A tablet.
    Tablet,
    /// A program or a text browser.
    Terminal,
    /// Not recognized.
    Unknown,
}

impl DeviceKind {
    /// The name of its icon in templates.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceKind::Laptop => "laptop",
            DeviceKind::Phone => "phone",
            DeviceKind::Tablet => "tablet",
            DeviceKind::Terminal => "terminal",
            DeviceKind::Unknown => "unknown",
        }
    }
}

/// The description of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// "Firefox on Linux".
    pub title: Text,
    /// The kind of device.
    pub kind: DeviceKind,
}

/// Maximum length in bytes, as in the check constraint of `sessions.user_agent`.
const MAX_LENGTH: usize = 512;

/// Token and name. The first match wins, so a browser that also sends the token of another browser is listed
/// before it.
const BROWSERS: [(&str, &str); 16] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Safari/", "Safari"),
];

const SYSTEMS: [(&str, &str, DeviceKind); 9] = [
    ("iPhone", "iPhone", DeviceKind::Phone),
    ("iPad", "iPad", DeviceKind::Tablet),
    ("CrOS", "ChromeOS", DeviceKind::Laptop),
    ("Windows", "Windows", DeviceKind::Laptop),
    ("Macintosh", "macOS", DeviceKind::Laptop),
    ("FreeBSD", "FreeBSD", DeviceKind::Laptop),
    ("OpenBSD", "OpenBSD", DeviceKind::Laptop),
    ("Linux", "Linux", DeviceKind::Laptop),
    ("X11", "Linux", DeviceKind::Laptop),
];

const PROGRAMS: [(&str, &str); 10] = [
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("HTTPie/", "HTTPie"),
    ("python-requests/", "Python"),
    ("python-httpx/", "Python"),
    ("Go-http-client/", "Go"),
    ("w3m/", "w3m"),
    ("Lynx/", "Lynx"),
    ("ELinks/", "ELinks"),
    ("Links ", "Links"),
];

/// Describes a `User-Agent` header.
pub fn describe(user_agent: Option<&str>) -> Device {
    let agent = user_agent.unwrap_or_default();
    if let Some((_, name)) = PROGRAMS.iter().find(|(token, _)| agent.starts_with(token)) {
        return Device { title: Text::from(*name), kind: DeviceKind::Terminal };
    }
    // The library of many apps.
    if agent.starts_with("okhttp/") {
        return Device { title: Text::key("device-app"), kind: DeviceKind::Terminal };
    }
    let browser = BROWSERS.iter().find(|(token, _)| agent.contains(token)).map(|(_, name)| *name);
    let (title, kind) = match (browser, system(agent)) {
        (Some(browser), Some((system, kind))) => {
            (Text::key("device-browser-on").with("browser", browser).with("system", system), kind)
        }
        (Some(browser), None) => (browser.into(), DeviceKind::Unknown),
        (None, Some((system, kind))) => (Text::key("device-on").with("system", system), kind),
        (None, None) => (Text::key("device-unknown"), DeviceKind::Unknown),
    };
    Device { title, kind }
}

/// The title of the device with this `User-Agent` header, in words.
pub fn title(user_agent: Option<&str>) -> String {
    describe(user_agent).title.to_string()
}

fn system(agent: &str) -> Option<(&'static str, DeviceKind)> {
    if agent.contains("Android") {
        let kind = if agent.contains("Mobile") { DeviceKind::Phone } else { DeviceKind::Tablet };
        return Some(("Android", kind));
    }
    let found = SYSTEMS.iter().find(|(token, _, _)| agent.contains(token));
    found.map(|(_, name, kind)| (*name, *kind))
}

/// The part of a `User-Agent` header that may be stored: at most 512 bytes, without control characters, which
/// could move the cursor of an operator's terminal.
pub fn bounded_user_agent(agent: &str) -> String {
    let mut kept = String::new();
    for character in agent.chars().filter(|character| !character.is_control()) {
        if kept.len() + character.len_utf8() > MAX_LENGTH {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_described_in_words() {
        use DeviceKind::*;
        for (agent, title, kind) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
                "Firefox on Linux",
                Laptop,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
                "Edge on Windows",
                Laptop,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
                "Safari on macOS",
                Laptop,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0 Mobile/15E148 Safari/604.1",
                "Chrome on iPhone",
                Phone,
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/145.0 Mobile/15E148 Safari/605.1.15",
                "Firefox on iPad",
                Tablet,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
                "Samsung Internet on Android",
                Phone,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                "Chrome on Android",
                Tablet,
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                "Chrome on ChromeOS",
                Laptop,
            ),
            ("curl/8.14.1", "curl", Terminal),
            ("w3m/0.5.3+git20230121", "w3m", Terminal),
            ("okhttp/5.3.0", "An app", Terminal),
            ("Mozilla/5.0 (X11; Linux x86_64)", "Unknown browser on Linux", Laptop),
            ("", "Unknown device", Unknown),
            ("\u{0}<script>", "Unknown device", Unknown),
        ] {
            let device = describe(Some(agent));
            assert_eq!(device.title, title, "{agent}");
            assert_eq!(device.kind, kind, "{agent}");
        }
        assert_eq!(describe(None).title, "Unknown device");
    }

    #[test]
    fn a_stored_user_agent_is_bounded_and_has_no_control_characters() {
        let kept = bounded_user_agent(&"é\u{1b}[31m".repeat(400));
        assert!(kept.len() <= 512 && !kept.chars().any(char::is_control));
    }
}
