//! Import and export files: rejected lines, invalid files, and an export that is imported again.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use super::{file, fixture, import, run, start, user_count};
use crate::support::{Database, site};

#[test]
fn every_rejected_line_gets_a_reason_and_its_content_is_never_printed() {
    let database = Database::new();
    let secret = "canary-5up3r";
    let hash = fixture("laravel-bcrypt")[3];
    let mut csv = b"\xEF\xBB\xBFEMAIL;Display_Name;password_hash;created_at;nickname\r\n".to_vec();
    let long = "x".repeat(70_000);
    let mut expected = Vec::new();
    let mut add = |line: &[u8], reason: Option<&'static str>| {
        csv.extend_from_slice(line);
        csv.extend_from_slice(b"\r\n");
        expected.push(reason);
    };
    add(format!("ada@example.com;Ada;{hash};2020-02-29;A").as_bytes(), None);
    add(format!("{secret};Ada;{hash};;").as_bytes(), Some("the email is not valid"));
    add(b";Ada;;;", Some("the email is missing"));
    add(
        format!("b@example.com;B;{secret};;").as_bytes(),
        Some("the password hash has an unknown format"),
    );
    add(
        format!("b@example.com;B;$2y$05${secret};;").as_bytes(),
        Some("the password hash is incomplete or malformed"),
    );
    add(b"b@example.com;B;pbkdf2_sha256$90000000$salt$jBLLvzr1KiAgRkV4CR6gla+m403UjFXHC6S2uAxBfBc=;;", Some("the parameters of the password hash exceed the cost limit of a sign-in"));
    add(b"ADA@EXAMPLE.COM;Ada;;;", Some("the email is the same as on an earlier line"));
    add(
        format!("b@example.com;{secret}{};;;", "n".repeat(64)).as_bytes(),
        Some("the name is longer than 64 characters"),
    );
    add(
        format!("b@example.com;{secret}\0;;;").as_bytes(),
        Some("the name contains a character that cannot be displayed"),
    );
    add(format!("b\0@example.com;{secret};;;").as_bytes(), Some("the email is not valid"));
    add(format!("b@example.com;\"{secret};;;").as_bytes(), Some("a quotation mark is not closed"));
    add(
        format!("b@example.com;{secret} \"x\";;;").as_bytes(),
        Some("a quotation mark is in the wrong place"),
    );
    add(b"b@example.com;\xFF\xFE;;;", Some("the line is not UTF-8"));
    add(
        format!("b@example.com;{secret}").as_bytes(),
        Some("the line has 2 fields and the first line has 5"),
    );
    add(
        format!("b@example.com;B;;{secret};").as_bytes(),
        Some("a time is not in the format 2026-11-23T21:27:00Z"),
    );
    add(b"b@example.com;B;;2999-01-01;", Some("a time is in the future"));
    add(format!("b@example.com;{long};;;").as_bytes(), Some("the line is longer than 64 KiB"));
    add(b"'=b@example.com;'=2+3;;;\"two\"\"\"", None);
    add(b"c@example.com;\"Cleo \"\"C\"\" Doe\";!;;\"in\r\ntwo lines\"", None);
    csv.extend_from_slice(b"d@example.com;\"never closed");
    let last = 2 + expected.len() + 1;
    let path = file("bad.csv", csv);
    let rejects = file("rejects.csv", "an existing file");
    let arguments = [path.to_str().unwrap(), "--rejects", rejects.to_str().unwrap()];
    let output = run(&database, &[&["user", "import"], &arguments[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&rejects).unwrap(), "an existing file", "nothing is overwritten");
    assert_eq!(user_count(&database), 0);
    fs::remove_file(&rejects).unwrap();
    let (code, counts, error) = import(&database, &path, &["--rejects", rejects.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert_eq!(
        (counts["made"].as_u64(), counts["with_password"].as_u64()),
        (Some(3), Some(1)),
        "{error}"
    );
    let mut lines: Vec<String> = expected
        .iter()
        .enumerate()
        .filter_map(|(at, reason)| Some(format!("{},{}", at + 2, (*reason)?)))
        .collect();
    lines.push(format!("{last},a quotation mark is not closed"));
    let mut rejected: Vec<String> =
        fs::read_to_string(&rejects).unwrap().lines().skip(1).map(str::to_owned).collect();
    let number = |line: &String| line.split_once(',').unwrap().0.parse::<u64>().unwrap();
    rejected.sort_by_key(number);
    assert_eq!(rejected, lines);
    assert!(error.contains("Ignored unknown column(s): 5."), "{error}");
    assert!(error.contains("Line 3: the email is not valid."), "{error}");
    assert!(!error.contains(secret) && !error.contains("example.com"), "{error}");
    let names = "SELECT email || ' ' || display_name FROM users ORDER BY email";
    assert_eq!(
        database.db_texts(names),
        ["=b@example.com =2+3", "ada@example.com Ada", "c@example.com Cleo \"C\" Doe"]
    );
    let since = "SELECT (created_at = '2020-02-29 00:00Z' AND password_changed_at = created_at)::text FROM users WHERE email LIKE 'ada%'";
    assert_eq!(database.db_texts(since), ["true"]);
}

#[test]
fn invalid_json_lines_and_invalid_files_are_reported() {
    let database = Database::new();
    let secret = "canary-5up3r";
    let text = format!(
        "{{\"email\":\"ada@example.com\",\"email_verified\":true,\"disabled\":\"2024-05-06T07:08:09Z\",\"age\":7}}\n\n{{\"email\":\"{secret}\n[\"{secret}\"]\n{{\"email\":[\"{secret}\"]}}\n{{\"email\":\"b@example.com\",\"role\":\"{secret}\"}}\n{{\"email\":\"b@example.com\",\"password_hash\":\"x\\u0000{secret}\"}}\n{{\"email\":\"b@example.com\"}} {secret}\n"
    );
    let (code, counts, error) = import(&database, &file("bad.jsonl", text), &[]);
    assert_eq!((code, counts["made"].as_u64()), (1, Some(1)));
    assert_eq!(
        error.lines().collect::<Vec<_>>(),
        [
            "Line 3: the line is not a JSON object.",
            "Line 4: the line is not a JSON object.",
            "Line 5: a value is neither a string nor a boolean.",
            "Line 6: the role is neither user nor admin.",
            "Line 7: the password hash is incomplete or malformed.",
            "Line 8: the line is not a JSON object.",
        ]
    );
    let states = "SELECT (email_verified_at = now() OR email_verified_at > now() - interval '1 minute')::text || disabled_at::date FROM users";
    assert_eq!(database.db_texts(states), ["true2024-05-06"]);
    for (name, content, code, reason) in [
        ("headless", "ada@example.com,Ada\n".as_bytes(), 2, "The first line must name the columns"),
        ("twice", b"email,Email\n", 2, "Two columns have the same name"),
        ("utf16", b"\xFF\xFEe\0m\0", 1, "The file is UTF-16"),
        ("empty", b"", 2, "The first line must name the columns"),
    ] {
        let path = file(name, content);
        let output = run(&database, &["user", "import", path.to_str().unwrap()]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}");
        assert!(error.contains(reason) && !error.contains("ada@"), "{name}: {error}");
    }
    let output = run(&database, &["user", "import", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(user_count(&database), 1);
}

#[test]
fn an_export_imports_back_unchanged() {
    let (_server, database) = site();
    let text = "{\"email\":\"Ada@Example.com\",\"display_name\":\"=Ada, \\\"the\\\" first\",\"role\":\"admin\",\"email_verified\":\"2021-02-03T04:05:06.123456Z\",\"created_at\":\"2020-01-01\",\"password_hash\":\"HASH\"}\n{\"email\":\"josé@example.com\",\"display_name\":\"'=José 李\",\"disabled\":true,\"deletion_due_at\":\"2030-01-01\"}\n";
    let text = text.replace("HASH", fixture("django-pbkdf2-sha1")[3]);
    assert_eq!(import(&database, &file("first", text), &["--allow-admins"]).0, 0);
    let all = "SELECT md5(string_agg((email, email_canonical, display_name, role, password_hash, created_at, password_changed_at,
                                      email_verified_at, disabled_at, deletion_due_at)::text, '' ORDER BY email)) FROM users";
    for ending in ["csv", "jsonl"] {
        let path = file(&format!("export.{ending}"), "");
        let target = path.to_str().unwrap();
        assert_eq!(
            run(&database, &["user", "export", target]).status.code(),
            Some(1),
            "the file exists"
        );
        fs::remove_file(&path).unwrap();
        let output = run(&database, &["user", "export", target, "--with-hashes"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = Database::new();
        let (code, _, error) = import(&other, &path, &["--allow-admins"]);
        assert_eq!(code, 0, "{error}");
        assert_eq!(other.db_texts(all), database.db_texts(all), "{ending}");
    }
    let without = String::from_utf8(run(&database, &["user", "export"]).stdout).unwrap();
    assert!(without.contains("Ada@example.com") && !without.contains("pbkdf2"), "{without}");
    // Export to stdout and import from stdin.
    let other = Database::new();
    let exported = run(&database, &["user", "export", "--format", "jsonl", "--with-hashes"]).stdout;
    let mut child = start(&other, &["user", "import", "-", "--allow-admins"]);
    child.stdin.take().unwrap().write_all(&exported).unwrap();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        message,
        "Created 2 account(s), 1 of them with a password; 0 already existed, 0 line(s) rejected.\n"
    );
    assert_eq!(other.db_texts(all), database.db_texts(all));
    assert_eq!(run(&Database::new(), &["user", "export"]).status.code(), Some(3));
}

#[test]
fn a_command_that_loses_its_connections_logs_no_warning_of_a_library() {
    let database = Database::new();
    let mut child = start(&database, &["user", "import", "-"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"email,shoe_size\n").unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut error = String::new();
    // It has connected and read the first line.
    errors.read_line(&mut error).unwrap();
    assert!(error.contains("Ignored unknown column"), "{error}");
    let terminated = database.db_execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'frontdesk'",
    );
    assert!(terminated > 0);
    input.write_all(b"a@example.com,44\n").unwrap();
    drop(input);
    errors.read_to_string(&mut error).unwrap();
    child.wait().unwrap();
    assert!(!error.contains("WARN"), "{error}");
}
