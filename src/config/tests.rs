use super::*;

const KEY: &str = "ulqH2Rk6bcBzr1mkIXQmJc0nuLZ8q3pT5sVwY7eA9dFgHjKl";

fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let map = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::from_map(&map)
}

fn problem(pairs: &[(&str, &str)]) -> String {
    config(pairs).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_a_private_database_and_a_loopback_address() {
    let config = config(&[("PATH", "/bin"), ("FRONTDESK_BIND", "")]).unwrap();
    assert!(matches!(config.database, DatabaseLocation::Private));
    assert_eq!(config.bind, [BindAddress::Tcp("127.0.0.1:8080".parse().unwrap())]);
    assert!(!config.public_url.is_https() && config.public_url.is_loopback());
    assert_eq!(config.session.idle, Duration::from_secs(7_200));
    assert_eq!(config.password_min_length, 8);
}

#[test]
fn all_problems_are_reported_together() {
    let problems = problem(&[
        ("DATABASE_URL", "mysql://root:hunter2@db/x"),
        ("FRONTDESK_BIND", "8080"),
        ("FRONTDESK_PUBLIC_URL", "http://desk.example.com"),
        ("FRONTDESK_SECRET_KEYS", "hunter2"),
        ("FRONTDESK_MIGRATE", "yes"),
        ("FRONTDESK_LOG_CLIENT_IP", "true"),
        ("FRONTDESK_SESSION_IDLE_TIMEOUT", "3d"),
        ("FRONTDESK_PASSWORD_MIN_LENGTH", "6"),
        ("FRONTDESK_AUDIT_RETENTION", "6d23h"),
        ("FRONTDESK_SESION_IDLE_TIMEOUT", "2h"),
    ]);
    for word in [
        "DATABASE_URL is not a URL",
        "FRONTDESK_BIND is “8080”",
        "FRONTDESK_PUBLIC_URL must begin with https://",
        "FRONTDESK_SECRET_KEYS has a key shorter than 32",
        "FRONTDESK_MIGRATE is “yes”, but must be on or off",
        "FRONTDESK_LOG_CLIENT_IP is “true”, but must be off or on",
        "FRONTDESK_SESSION_IDLE_TIMEOUT is longer than",
        "FRONTDESK_PASSWORD_MIN_LENGTH is “6”, but must be a whole number from 8 to 64",
        "FRONTDESK_AUDIT_RETENTION is shorter than a week. Set it to 7d or longer",
        "Did you mean FRONTDESK_SESSION_IDLE_TIMEOUT?",
    ] {
        assert!(problems.contains(word), "{word} is not in:\n{problems}");
    }
    assert!(!problems.contains("hunter2"), "{problems}");
}

#[test]
fn verified_registration_requires_a_mail_transport() {
    let verified = ("FRONTDESK_REGISTRATION", "verified");
    let public = ("FRONTDESK_PUBLIC_URL", "https://desk.example.com");
    assert!(problem(&[verified, public]).contains("no mail is sent"));
    // On a loopback host /dev/mailbox shows the mail.
    assert!(config(&[verified]).is_ok());
    assert!(config(&[verified, public, ("FRONTDESK_MAIL_DIR", "/var/mail/desk")]).is_ok());
}

#[test]
fn a_database_url_requires_secret_keys() {
    let url = ("DATABASE_URL", "postgres://desk:hunter2@db.example/desk");
    assert!(problem(&[url]).contains("FRONTDESK_SECRET_KEYS must be set"));
    assert!(config(&[url, ("FRONTDESK_SECRET_KEYS", KEY)]).is_ok());
}

#[test]
fn secrets_are_read_from_files_and_never_shown() {
    let folder = std::env::temp_dir().join(format!("frontdesk-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("url");
    std::fs::write(&file, "postgres://desk:hunter2@db.example/desk\n").unwrap();
    let path = file.to_str().unwrap();
    let config = config(&[
        ("DATABASE_URL_FILE", path),
        ("FRONTDESK_SECRET_KEYS", KEY),
        ("FRONTDESK_LISTEN_URL", "postgres://desk:hunter2@listen.example/desk"),
        ("FRONTDESK_SMTP_URL", "smtps://desk:hunter2@mail.example"),
        ("FRONTDESK_MAIL_FROM", "desk@example.com"),
    ])
    .unwrap();
    let shown = format!("{config:?}");
    assert!(
        shown.contains("desk on db.example") && !shown.contains("hunter2") && !shown.contains(KEY),
        "{shown}"
    );
    let both = problem(&[
        ("DATABASE_URL_FILE", path),
        ("DATABASE_URL", "postgres://x/y"),
        ("FRONTDESK_SECRET_KEYS", KEY),
    ]);
    assert!(both.contains("both set"), "{both}");
    let missing =
        problem(&[("DATABASE_URL_FILE", "/nowhere/at/all"), ("FRONTDESK_SECRET_KEYS", KEY)]);
    assert!(missing.contains("cannot be read"), "{missing}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn weak_keys_are_refused() {
    for (keys, weak) in [
        ("short", WeakKey::Short),
        (&"a".repeat(64), WeakKey::Guessable),
        ("changeme-changeme-changeme-changeme-0123456789", WeakKey::Guessable),
        (&format!("{KEY},{KEY}"), WeakKey::Duplicate),
        (&format!("{KEY},"), WeakKey::Short),
    ] {
        assert_eq!(SecretKeys::parse(keys).err(), Some(weak), "{keys}");
    }
    let other: String = KEY.chars().rev().collect();
    assert_eq!(SecretKeys::parse(&format!("{KEY}, {other}")).unwrap().as_slice().len(), 2);
}

#[test]
fn keys_are_generated_once_and_readable_by_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = std::env::temp_dir().join(format!("frontdesk-keys-{}", std::process::id()));
    let first = SecretKeys::load_or_create(&folder).unwrap();
    let second = SecretKeys::load_or_create(&folder).unwrap();
    assert_eq!(first.as_slice()[0].reveal(), second.as_slice()[0].reveal());
    let file = folder.join("secret-keys");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(SecretKeys::load_or_create(&folder).unwrap_err().to_string().contains("chmod 600"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn public_urls_are_scheme_host_and_port() {
    for url in [
        "https://desk.example.com",
        "https://desk.example.com:8443/",
        "http://localhost:8080",
        "http://[::1]:1",
    ] {
        assert!(config(&[("FRONTDESK_PUBLIC_URL", url)]).is_ok(), "{url}");
    }
    for url in [
        "desk.example.com",
        "ftp://desk.example.com",
        "https://desk.example.com/login",
        "https://a:b@desk.example.com",
        "https://desk.example.com?x",
        "http://10.0.0.1",
    ] {
        assert!(config(&[("FRONTDESK_PUBLIC_URL", url)]).is_err(), "{url}");
    }
}

#[test]
fn every_setting_is_explained_in_the_example() {
    let example = include_str!("../../.env.example");
    for name in NAMES {
        assert!(example.contains(name), "{name} is not in .env.example");
    }
    let settings = example.lines().filter_map(|line| line.strip_prefix("# ")?.split_once('='));
    for (name, _) in settings.filter(|(name, _)| !name.contains(' ')) {
        assert!(NAMES.contains(&name), "{name} is in .env.example but is not a setting");
    }
}

#[test]
fn smtp_urls_cannot_disable_tls_and_the_sender_must_be_one_line() {
    let from = ("FRONTDESK_MAIL_FROM", "The Desk, Ltd. <desk@example.com>");
    let url = |url| config(&[("FRONTDESK_SMTP_URL", url), from]);
    for good in ["smtps://mail.example.com", "smtp://desk:p%40ss@mail.example.com:2525/"] {
        assert!(url(good).is_ok(), "{good}");
    }
    for bad in [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://mail.example.com?tls=none",
        "smtp://mail.example.com/x",
    ] {
        assert!(url(bad).unwrap_err().to_string().contains("FRONTDESK_SMTP_URL"), "{bad}");
    }
    let sender = |from| {
        config(&[("FRONTDESK_SMTP_URL", "smtps://mail.example.com"), ("FRONTDESK_MAIL_FROM", from)])
    };
    let read = sender("The Desk, Ltd. <desk@example.com>").unwrap().mail.from;
    assert_eq!(read.name.as_deref(), Some("The Desk, Ltd."));
    for bad in [
        "desk",
        "Desk <desk>",
        "Desk\r\nBcc: eve@example.com <desk@example.com>",
        "<a@b.c> <desk@example.com> x",
    ] {
        assert!(sender(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn bind_takes_several_addresses_and_unix_sockets() {
    let bind = |text: &str| config(&[("FRONTDESK_BIND", text)]);
    let found = bind("127.0.0.1:80, [::1]:80 ,unix:/run/frontdesk/http.sock,").unwrap().bind;
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["127.0.0.1:80", "[::1]:80", "unix:/run/frontdesk/http.sock"]);
    for text in
        [",", "unix:", "unix:relative", "localhost:80", "127.0.0.1", "127.0.0.1:80,127.0.0.1:80"]
    {
        let problem = bind(text).unwrap_err().to_string();
        assert!(problem.contains("FRONTDESK_BIND"), "{text}: {problem}");
    }
}

#[test]
fn trusted_proxies_match_in_their_ipv6_notation_and_cannot_cover_the_internet() {
    let proxies = |text: &str| config(&[("FRONTDESK_TRUSTED_PROXIES", text)]);
    for (text, expected) in [
        ("::ffff:127.0.0.1", "127.0.0.1/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::FFFF:a00:1/128", "10.0.0.1/32"),
        ("fc00::/7", "fc00::/7"),
        ("10.0.0.0/8", "10.0.0.0/8"),
    ] {
        let found = proxies(text).unwrap().trusted_proxies;
        assert_eq!(found, [expected.parse::<ipnet::IpNet>().unwrap()], "{text}");
    }
    for text in ["0.0.0.0/0", "::/0", "0.0.0.0/1,128.0.0.0/1", "::ffff:0:0/96", "::/80", "2000::/3"]
    {
        let problem = proxies(text).unwrap_err().to_string();
        assert!(problem.contains("choose its IP address"), "{text}: {problem}");
    }
}

#[test]
fn variables_of_a_kubernetes_service_are_ignored_and_misspelled_settings_are_not() {
    assert!(config(&[("FRONTDESK_PORT", "tcp://10.96.0.7:8080")]).is_ok());
    assert!(config(&[("FRONTDESK_SERVICE_PORT_HTTP", "8080")]).is_ok());
    assert!(problem(&[("FRONTDESK_PORT", "8080")]).contains("not a known setting"));
    assert!(problem(&[("FRONTDESK_SERVICE_HOTS", "x")]).contains("not a known setting"));
}

#[test]
fn a_setting_in_lower_case_is_refused() {
    for (name, meant) in [
        ("frontdesk_drain", "FRONTDESK_DRAIN"),
        ("Frontdesk_Drain", "FRONTDESK_DRAIN"),
        ("frontdesk_drian", "FRONTDESK_DRAIN"),
        ("database_url", "DATABASE_URL"),
    ] {
        let problem = problem(&[(name, "0s")]);
        assert!(problem.contains(&format!("{name} is not a known setting. Did you mean {meant}?")));
    }
}

#[test]
fn the_drain_and_keep_alive_may_be_zero() {
    let zero = config(&[("FRONTDESK_DRAIN", "0s"), ("FRONTDESK_KEEP_ALIVE", "0s")]).unwrap();
    assert_eq!((zero.drain, zero.keep_alive), (Duration::ZERO, Duration::ZERO));
    let default = config(&[]).unwrap();
    assert_eq!((default.drain.as_secs(), default.keep_alive.as_secs()), (5, 75));
}
