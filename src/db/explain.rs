//! Sentences about database errors, for operators. sqlx's own texts repeat the cause, name lines of
//! PostgreSQL's source code, and do not say what to do.

use std::error::Error;
use std::io;

use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;

use super::error::code_of;
use super::{ConnectError, NotPrimary};
use crate::config::postgres_url::location;

/// An error and its causes, each once, separated by colons.
pub fn explain(error: &anyhow::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let (text, is_complete) = describe(cause);
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
        if is_complete {
            break;
        }
    }
    texts.join(": ")
}

/// The text of one error of a chain, and whether it covers the errors below it.
fn describe(error: &(dyn Error + 'static)) -> (String, bool) {
    if let Some(error) = error.downcast_ref::<sqlx::Error>() {
        return (reason(error), true);
    }
    match error.downcast_ref::<MigrateError>() {
        Some(MigrateError::Execute(error)) => (reason(error), true),
        Some(MigrateError::ExecuteMigration(error, version)) => {
            (format!("migration {version}: {}", reason(error)), true)
        }
        _ => match error.downcast_ref::<ConnectError>() {
            Some(ConnectError::Failed(error)) => (reason(error), true),
            Some(error) => (error.to_string(), true),
            None => (error.to_string(), false),
        },
    }
}

/// The reason of a database error, in a few words and with PostgreSQL's message.
pub fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => match cause(error) {
            Some(cause) => format!("{cause} (PostgreSQL: {})", database.message()),
            None => {
                format!("{} (SQLSTATE {})", database.message(), database.code().unwrap_or_default())
            }
        },
        sqlx::Error::Io(io) => match cause(error) {
            Some(cause) => cause.to_owned(),
            None => tls_problem(io).unwrap_or_else(|| io.to_string()),
        },
        sqlx::Error::Tls(tls) => tls_problem(tls.as_ref()).unwrap_or_else(|| tls.to_string()),
        sqlx::Error::PoolTimedOut => {
            "no connection to PostgreSQL became available within 2 seconds".to_owned()
        }
        sqlx::Error::Configuration(error) | sqlx::Error::AnyDriverError(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// The reason in general words: without names, so that it can be shown publicly. `None` if the error says
/// nothing about the state of the database.
pub fn cause(error: &sqlx::Error) -> Option<&'static str> {
    let code = match error {
        sqlx::Error::Io(error) => {
            return match error.kind() {
                io::ErrorKind::ConnectionRefused => Some("nothing listens at that address"),
                io::ErrorKind::NotFound => Some("the socket does not exist"),
                io::ErrorKind::PermissionDenied => Some("the socket may not be used by this user"),
                io::ErrorKind::TimedOut => Some("PostgreSQL did not respond in time"),
                io::ErrorKind::ConnectionReset => {
                    Some("the connection was closed before PostgreSQL answered (reset by peer)")
                }
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => {
                    Some("the connection was closed before PostgreSQL answered")
                }
                _ => None,
            };
        }
        sqlx::Error::PoolTimedOut => return Some("no connection became available in time"),
        error => code_of(error)?,
    };
    Some(match code.as_str() {
        "28P01" => "the password is wrong",
        "3D000" => "the database does not exist",
        "3F000" => "the schema does not exist",
        "25006" => "the server accepts no writes",
        "40001" | "40P01" => "concurrent transactions were in conflict",
        "42501" => "a privilege is missing",
        "53300" => "PostgreSQL has no free connections",
        "53100" => "the disk of PostgreSQL is full",
        "55000" => "the database does not accept connections, or is in recovery",
        "55P03" => "a lock was not available in time",
        "57014" => "the statement took too long and was canceled",
        "57P03" => "PostgreSQL is starting or stopping",
        code if code.starts_with("28") => "PostgreSQL refuses this login",
        code if code.starts_with("57") => "PostgreSQL is stopping or closed the connection",
        code if code.starts_with("53") => "PostgreSQL is out of resources",
        code if code.starts_with("54") => "a limit of PostgreSQL was exceeded",
        code if code.starts_with("58") => "PostgreSQL cannot read or write its files",
        code if code.starts_with("XX") => "PostgreSQL failed internally",
        code if super::error::is_missing_object(code) => "the schema is incomplete",
        _ => return None,
    })
}

/// The public words for a failed connection: the value of `cause` in `/readyz`.
pub fn connect_cause(error: &ConnectError) -> String {
    match error {
        ConnectError::NotPrimary(reason) => format!("PostgreSQL {reason}"),
        ConnectError::MissingPrivilege(_) => "a privilege is missing".to_owned(),
        ConnectError::MissingTable(_) => "the schema is incomplete".to_owned(),
        ConnectError::Failed(error) => cause(error).map_or_else(
            || match error {
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
                    "PostgreSQL cannot be reached".to_owned()
                }
                error => code_of(error).map_or_else(
                    || "the connection failed".to_owned(),
                    |code| format!("PostgreSQL reported SQLSTATE {code}"),
                ),
            },
            str::to_owned,
        ),
    }
}

/// Certificate errors arrive as texts of rustls.
fn tls_problem(error: &(dyn Error + 'static)) -> Option<String> {
    let text = error.to_string();
    if !text.contains("certificate") && !text.contains("TLS") && !text.contains("SSL") {
        return None;
    }
    let words = [
        (
            "UnknownIssuer",
            "its certificate is not signed by a trusted authority. Set sslrootcert in the URL to the file of its CA",
        ),
        (
            "NotValidForName",
            "its certificate is for another host name. Use the name in the certificate, or sslmode=verify-ca",
        ),
        ("Expired", "its certificate has expired"),
        ("not support", "it does not offer TLS, which sslmode requires"),
    ];
    let found = words.iter().find(|(word, _)| text.contains(word));
    Some(found.map_or(text.clone(), |(_, sentence)| (*sentence).to_owned()))
}

/// The message of a command or a server that cannot connect at start. `setting` is the name of the URL's
/// setting.
pub(super) fn unreachable(
    error: &ConnectError,
    setting: &str,
    options: &PgConnectOptions,
) -> anyhow::Error {
    let place = location(options);
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    let error = match error {
        ConnectError::NotPrimary(reason @ NotPrimary::Standby) => {
            return anyhow::anyhow!(
                "the PostgreSQL of {setting} ({place}) {reason}. Set {setting} to the primary, or to a host name that always points to it."
            );
        }
        ConnectError::NotPrimary(reason @ NotPrimary::ReadOnly) => {
            return anyhow::anyhow!(
                "the PostgreSQL of {setting} ({place}) {reason}. Turn that setting off for the server, the database and the role."
            );
        }
        ConnectError::MissingPrivilege(_) | ConnectError::MissingTable(_) => {
            return anyhow::anyhow!("{error}");
        }
        ConnectError::Failed(error) => error,
    };
    let advice = match code_of(error).as_deref() {
        Some("28P01") => format!("Correct the password of {user} in {setting}."),
        Some("28000") => format!(
            "Let {user} in: check that the role exists, may log in, and has a line in pg_hba.conf."
        ),
        Some("3D000") => {
            format!("Create it: CREATE DATABASE \"{database}\" ENCODING 'UTF8' TEMPLATE template0")
        }
        Some("42501") => {
            format!("Grant it: GRANT CONNECT ON DATABASE \"{database}\" TO \"{user}\"")
        }
        Some("55000") => {
            format!("Allow connections: ALTER DATABASE \"{database}\" ALLOW_CONNECTIONS true")
        }
        Some("53300") => "Raise max_connections or close other connections.".to_owned(),
        Some(_) => String::new(),
        None => format!("Check that it is running and that {setting} is correct."),
    };
    let reason = reason(error);
    let dot = if reason.ends_with('.') { "" } else { "." };
    let text = format!("cannot connect to PostgreSQL ({place}): {reason}{dot} {advice}");
    anyhow::anyhow!("{}", text.trim_end())
}
