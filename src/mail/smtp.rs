//! An SMTP client, built on lettre. TLS is implicit (`smtps://`) or required before anything but the greeting
//! (`smtp://`, STARTTLS): no mail or password is ever sent in plain text, whatever the server offers. A
//! connection carries one mail, because lettre's pool would reuse a connection on which sending was aborted.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
#[expect(deprecated, reason = "no other type of lettre applies its TLS settings to a stream")]
use lettre::transport::smtp::client::AsyncNetworkStream;
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::{Error, SUBMISSION_PORT, SUBMISSIONS_PORT};
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;
use url::{Host, Url};

use super::bounded_stream::BoundedStream;
use super::mime::ComposedMail;
use super::send_error::{SendError, Stage};
use super::severity::{Refused, Severity};

/// The timeout to connect, and of each command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// The timeout between the end of a mail and the server's reply. RFC 5321 (4.5.3.2.6) recommends ten minutes,
/// because a client that disconnects earlier may send a mail twice. Two minutes, so that a stalled server
/// does not delay other mail for long.
const ACCEPTANCE_TIMEOUT: Duration = Duration::from_secs(120);

/// A mail server and the credentials for it.
pub struct Smtp {
    host: String,
    port: u16,
    implicit_tls: bool,
    tls: TlsParameters,
    hello: ClientId,
    credentials: Option<Credentials>,
}

impl Smtp {
    /// Parses `FRONTDESK_SMTP_URL`. `authority`: PEM certificates that are trusted in addition to the
    /// system's.
    pub fn new(url: &str, authority: Option<&[u8]>, public_host: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url).ok().context("FRONTDESK_SMTP_URL is not a valid URL")?;
        let implicit_tls = url.scheme() == "smtps";
        let host = match url.host().context("FRONTDESK_SMTP_URL has no host")? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let mut tls = TlsParameters::builder(host.clone());
        if let Some(pem) = authority {
            let certificate = Certificate::from_pem(pem)
                .context("FRONTDESK_SMTP_CA_FILE contains no PEM certificate")?;
            tls = tls.add_root_certificate(certificate);
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let credentials = url
            .password()
            .map(|password| Credentials::new(decoded(url.username()), decoded(password)));
        ensure!(
            credentials.is_some() || url.username().is_empty(),
            "FRONTDESK_SMTP_URL has a user but no password"
        );
        let port =
            url.port().unwrap_or(if implicit_tls { SUBMISSIONS_PORT } else { SUBMISSION_PORT });
        let tls = tls.build().context("TLS cannot be set up")?;
        let hello = match Host::parse(public_host) {
            Ok(Host::Ipv4(address)) => ClientId::Ipv4(address),
            Ok(Host::Ipv6(address)) => ClientId::Ipv6(address),
            _ => ClientId::Domain(public_host.to_owned()),
        };
        Ok(Self { host, port, implicit_tls, tls, hello, credentials })
    }

    /// Host, port and kind of TLS, for messages.
    pub fn description(&self) -> String {
        let tls = if self.implicit_tls { "TLS" } else { "STARTTLS" };
        format!("{}, port {}, {tls}", self.host, self.port)
    }

    /// Sends `mail`. `Ok` once the server has accepted responsibility for it.
    pub async fn send(&self, mail: &ComposedMail) -> Result<(), SendError> {
        let mut connection = self.connect().await?;
        let info = connection.server_info();
        let mut options = Vec::new();
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        if !is_ascii(&mail.to) || !is_ascii(&mail.from) {
            if !info.supports_feature(Extension::SmtpUtfEight) {
                return Err(SendError {
                    severity: Severity::Permanent,
                    stage: Stage::Recipient,
                    code: None,
                    message: "the mail server does not accept non-ASCII emails (SMTPUTF8)"
                        .to_owned(),
                });
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        if !mail.bytes.is_ascii() && info.supports_feature(Extension::EightBitMime) {
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let from = Mail::new(Some(mail.from.clone()), options);
        step(Stage::Sender, COMMAND_TIMEOUT, connection.command(from)).await?;
        let to = Rcpt::new(mail.to.clone(), Vec::new());
        step(Stage::Recipient, COMMAND_TIMEOUT, connection.command(to)).await?;
        step(Stage::Content, COMMAND_TIMEOUT, connection.command(Data)).await?;
        step(Stage::Content, ACCEPTANCE_TIMEOUT, connection.message(&mail.bytes)).await?;
        quit(connection);
        Ok(())
    }

    /// Connects and signs in without sending anything.
    pub async fn probe(&self) -> Result<(), SendError> {
        self.connect().await.map(quit)
    }

    async fn connect_tcp(&self) -> Result<TcpStream, SendError> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        match tokio::time::timeout(COMMAND_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(local(Stage::Connection, error)),
            Err(_) => Err(timed_out(Stage::Connection, COMMAND_TIMEOUT)),
        }
    }

    /// Reads the greeting and sends EHLO.
    async fn greet<S>(
        &self,
        stream: BoundedStream<S>,
        stage: Stage,
    ) -> Result<AsyncSmtpConnection, SendError>
    where
        BoundedStream<S>: AsyncTokioStream + 'static,
    {
        let greeting = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello);
        step(stage, COMMAND_TIMEOUT, greeting).await
    }

    #[expect(deprecated, reason = "see the import of AsyncNetworkStream")]
    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let tcp = self.connect_tcp().await?;
        let peer = tcp.peer_addr().map_err(|error| local(Stage::Connection, error))?;
        let mut connection = if self.implicit_tls {
            // lettre reads a line of any length, so it gets a stream with a limit. It does not know that this
            // stream is already encrypted, so that is checked here.
            let mut tls = AsyncNetworkStream::use_existing_tokio1(Box::new(tcp));
            let upgrading = tls.upgrade_tls(self.tls.clone());
            step(Stage::Encryption, COMMAND_TIMEOUT, upgrading).await?;
            if !tls.is_encrypted() {
                return Err(local(Stage::Encryption, "the connection is not encrypted"));
            }
            self.greet(BoundedStream::new(tls.compat(), peer), Stage::Encryption).await?
        } else {
            let mut connection =
                self.greet(BoundedStream::new(tcp, peer), Stage::Connection).await?;
            let upgrading = connection.starttls(self.tls.clone(), &self.hello);
            step(Stage::Encryption, COMMAND_TIMEOUT, upgrading).await?;
            if !connection.is_encrypted() {
                return Err(local(Stage::Encryption, "the connection is not encrypted"));
            }
            connection
        };
        if let Some(credentials) = &self.credentials {
            let signing_in = connection.auth(DEFAULT_MECHANISMS, credentials);
            step(Stage::SignIn, COMMAND_TIMEOUT, signing_in).await?;
        }
        Ok(connection)
    }
}

/// An error that is not a reply of the server. It is never permanent.
fn local(stage: Stage, error: impl fmt::Display) -> SendError {
    let (severity, message) = (Severity::Transient, error.to_string());
    SendError { severity, stage, code: None, message }
}

fn timed_out(stage: Stage, timeout: Duration) -> SendError {
    local(stage, format_args!("no response within {} s", timeout.as_secs()))
}

/// Runs one step of the dialogue. Only an error about this recipient or this mail can be permanent. Other
/// errors are caused by the server or the settings, and the mail is retried.
async fn step<T>(
    stage: Stage,
    timeout: Duration,
    action: impl Future<Output = Result<T, Error>>,
) -> Result<T, SendError> {
    let error = match tokio::time::timeout(timeout, action).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error,
        Err(_) => return Err(timed_out(stage, timeout)),
    };
    let code = error.status().map(u16::from);
    let refused = match stage {
        Stage::Recipient => Some(Refused::Recipient),
        Stage::Content => Some(Refused::Content),
        Stage::Connection | Stage::Encryption | Stage::SignIn | Stage::Sender => None,
    };
    // The reply without lettre's own words, which contain the code.
    let reply = error.source().map(ToString::to_string).unwrap_or_default();
    let message = match code {
        Some(code) => format!("{code} {reply}").trim_end().to_owned(),
        None => {
            // lettre adds the prefix once per layer; `stage` already contains this information.
            let text = error.to_string();
            text.trim_start_matches("Connection error: ").to_owned()
        }
    };
    let severity = match (refused, code) {
        (Some(refused), Some(code)) => Severity::of(refused, code, &reply),
        _ => Severity::Transient,
    };
    Err(SendError { severity, stage, code, message })
}

/// Sends QUIT in the background, so that the caller does not wait for the reply.
fn quit(mut connection: AsyncSmtpConnection) {
    tokio::spawn(async move {
        tokio::time::timeout(Duration::from_secs(2), connection.quit()).await.ok();
    });
}
