//! PostgreSQL URLs. sqlx reads them with a parser for web addresses, which refuses forms that libpq accepts
//! (`user@/db?host=/socket/dir`), and logs unknown parameters with their values. So a URL is split here, and
//! sqlx receives every part as a parameter.

use std::fmt;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// The parameters that sqlx supports, apart from `options[…]`.
const SUPPORTED: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

const FORM: &str = "is not a URL like postgres://user:password@host/database";
const SEVERAL_HOSTS: &str = "lists several hosts, but exactly one is supported. Use one address that always leads to the primary, for example that of a proxy or a virtual IP address";

/// A PostgreSQL URL. Its `Debug` output contains neither user, password nor parameters.
#[derive(Clone)]
pub struct PostgresUrl {
    options: PgConnectOptions,
    ignored: Vec<String>,
}

impl PostgresUrl {
    /// Parses a URL. The error completes a sentence that begins with the name of the setting, and contains no
    /// value that may be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or(FORM)?;
        // libpq looks for "@" first, so that a password may contain "?".
        let end_of_authority = rest.find('/').unwrap_or(rest.len());
        let (user_info, rest) = match rest[..end_of_authority].rfind('@') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => ("", rest),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host_and_port, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let (host, port) = split_host(host_and_port)?;
        let mut parameters = Vec::new();
        for (name, value) in [
            ("host", host),
            ("port", port),
            ("dbname", database),
            ("user", user),
            ("password", password),
        ] {
            if !value.is_empty() {
                parameters.push((name.to_owned(), decode(value)?));
            }
        }
        let mut ignored = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Not as in forms: libpq does not decode "+".
            let (name, value) = (decode(name)?, decode(value)?);
            match name.as_str() {
                "target_session_attrs" => {
                    return Err("sets target_session_attrs, which is not supported. Remove it: Frontdesk always refuses a server that accepts no writes".to_owned());
                }
                "host" | "hostaddr" | "port" if value.contains(',') => {
                    return Err(SEVERAL_HOSTS.to_owned());
                }
                name if name.starts_with("options[") || SUPPORTED.contains(&name) => {
                    parameters.push((name.to_owned(), value));
                }
                _ => ignored.push(name),
            }
        }
        let query =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
        let options = format!("postgres:///?{query}").parse().map_err(|_| {
            // sqlx's message contains the value.
            "has an invalid port, hostaddr or sslmode. sslmode is disable, allow, prefer, require, verify-ca or verify-full".to_owned()
        })?;
        Ok(Self { options, ignored })
    }

    /// The options for sqlx.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The host, if connections to it cross a network and their TLS is not verified: sslmode is below
    /// verify-full, and the host is neither a socket nor a loopback address (ASVS 5.0 V12.3.1).
    pub fn unverified_host(&self) -> Option<&str> {
        let host = self.options.get_host();
        let is_verified = matches!(self.options.get_ssl_mode(), PgSslMode::VerifyFull);
        let is_local =
            self.options.get_socket().is_some() || host.starts_with('/') || is_loopback(host);
        (!is_verified && !is_local).then_some(host)
    }

    /// The names of parameters that are not supported and have no effect.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }
}

/// Whether `host` is this machine: an IP address, or `localhost` and names below it (RFC 6761).
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// Splits `host:port`. An IPv6 address is in brackets, which are removed.
fn split_host(text: &str) -> Result<(&str, &str), String> {
    if text.contains(',') {
        return Err(SEVERAL_HOSTS.to_owned());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(FORM)?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if port.is_empty() => Ok((host, "")),
            None => Err(FORM.to_owned()),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err("has an IPv6 address without brackets. Write it as [::1]".to_owned())
        }
        Some(parts) => Ok(parts),
        None => Ok((text, "")),
    }
}

fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| FORM.to_owned())
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&location(&self.options))
    }
}

/// Database and host for messages, without user or password.
pub fn location(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    let host = options.get_socket().map_or_else(
        || options.get_host().to_owned(),
        |socket| format!("the socket in {}", socket.display()),
    );
    let port = if options.get_port() == 5432 {
        String::new()
    } else {
        format!(", port {}", options.get_port())
    };
    format!("{database} on {host}{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let url = PostgresUrl::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        format!("{} {}", url.options().get_username(), location(url.options()))
    }

    #[test]
    fn every_form_that_libpq_accepts_is_read() {
        for (text, expected) in [
            ("postgres://ada@db.example/desk", "ada desk on db.example"),
            ("postgresql://ada:s%23c@db.example:5433/desk", "ada desk on db.example, port 5433"),
            ("postgresql://ada@/desk?host=/run/pg", "ada desk on the socket in /run/pg"),
            ("postgres://ada@%2Frun%2Fpg/desk", "ada desk on the socket in /run/pg"),
            ("postgres:///desk?user=ada&host=/run/pg", "ada desk on the socket in /run/pg"),
            (
                "postgres://ada@localhost:5432/desk?host=%2Frun%2Fpg",
                "ada desk on the socket in /run/pg",
            ),
            ("postgres://ada@[::1]/desk", "ada desk on ::1"),
            ("postgres://ada@[::1]:5433/desk", "ada desk on ::1, port 5433"),
            ("postgres://ada@db.example", "ada ada on db.example"),
            ("postgres://ada@db.example?dbname=desk", "ada desk on db.example"),
            ("postgres://ada:p#ss@w+rd@db.example/desk", "ada desk on db.example"),
            ("postgres://ada:p?ss@db.example/desk", "ada desk on db.example"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_or_named_but_never_shown_with_its_value() {
        for (text, expected) in [
            ("mysql://ada:hunter2@db/desk", "is not a URL like"),
            ("postgres://ada:hunter2@one,two/desk", "lists several hosts"),
            ("postgres://ada:hunter2@one:5432,two:5433/desk", "lists several hosts"),
            ("postgres://ada:hunter2@/desk?host=one,two", "lists several hosts"),
            (
                "postgres://ada:hunter2@one/desk?target_session_attrs=read-write",
                "target_session_attrs",
            ),
            ("postgres://ada:hunter2@::1/desk", "brackets"),
            ("postgres://ada:hunter2@one:port/desk", "invalid port"),
            ("postgres://ada:hunter2@one/desk?sslmode=hunter2", "verify-full"),
        ] {
            let problem = PostgresUrl::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        let url = PostgresUrl::parse("postgres://ada@one/desk?sslpassword=hunter2&gssencmode=x");
        let url = url.unwrap();
        assert_eq!(url.ignored(), ["sslpassword", "gssencmode"]);
        assert!(!format!("{url:?}").contains("hunter2"));
    }

    #[test]
    fn a_host_on_the_network_needs_verify_full() {
        let unverified =
            |text: &str| PostgresUrl::parse(text).unwrap().unverified_host().map(ToOwned::to_owned);
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            for host in ["db.example", "192.0.2.1", "[2001:db8::1]", "localhost.example"] {
                let text = format!("postgres://ada@{host}/desk?sslmode={mode}");
                assert!(unverified(&text).is_some(), "{text}");
            }
            for host in
                ["localhost", "LOCALHOST.", "db.localhost", "127.0.0.1", "127.9.9.9", "[::1]"]
            {
                let text = format!("postgres://ada@{host}/desk?sslmode={mode}");
                assert_eq!(unverified(&text), None, "{text}");
            }
            let socket = format!("postgres://ada@/desk?host=/run/pg&sslmode={mode}");
            assert_eq!(unverified(&socket), None);
            let socket = format!("postgres://ada@%2Frun%2Fpg/desk?sslmode={mode}");
            assert_eq!(unverified(&socket), None);
            let by_address = format!("postgres://ada@/desk?hostaddr=192.0.2.1&sslmode={mode}");
            assert!(unverified(&by_address).is_some());
        }
        assert!(unverified("postgres://ada@db.example/desk").is_some(), "the default is prefer");
        assert_eq!(unverified("postgres://ada@db.example/desk?sslmode=verify-full"), None);
        assert_eq!(unverified("postgres://ada@db.example/desk?ssl-mode=verify-full"), None);
    }
}
