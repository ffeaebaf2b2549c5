//! A mail server, spoken to by lettre. TLS from the first byte (`smtps://`) or before anything but greetings is said
//! (`smtp://`, STARTTLS): never a mail or a password in the clear, whatever the server offers. A connection carries
//! one mail: lettre's pool would hand on a connection whose mail was given up half-way.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::{Error, SUBMISSION_PORT, SUBMISSIONS_PORT};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::mime::ComposedMail;

/// Connecting, and each command.
const COMMAND: Duration = Duration::from_secs(20);
/// From the last line of a mail to the server's word. RFC 5321 (4.5.3.2.6) asks for ten minutes: who hangs up earlier
/// may get a mail sent twice. Two, so that a stalled server does not hold other mail up for long.
const ACCEPTANCE: Duration = Duration::from_secs(120);

/// Where to send, and how to be believed there.
pub struct Smtp {
    host: String,
    port: u16,
    from_the_start: bool,
    tls: TlsParameters,
    hello: ClientId,
    credentials: Option<Credentials>,
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Name, address, port, greeting.
    Connection,
    /// The certificate, or that there is none.
    Encryption,
    /// User and password.
    SignIn,
    /// Who the mail is from.
    Sender,
    /// Whom it is to.
    Recipient,
    /// The mail itself.
    Content,
}

/// Why a mail did not go.
#[derive(Debug)]
pub struct Failure {
    /// Whether the same mail will never go.
    pub is_permanent: bool,
    /// How far it came.
    pub stage: Stage,
    /// The server's code.
    pub code: Option<u16>,
    /// In the words of the server, or of this side. May name the recipient: not for the log.
    pub said: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Connection => "connecting",
            Stage::Encryption => "TLS",
            Stage::SignIn => "signing in",
            Stage::Sender => "sender",
            Stage::Recipient => "recipient",
            Stage::Content => "content",
        };
        write!(out, "{stage}: {}", self.said)
    }
}

impl Smtp {
    /// From the setting. `authority`: certificates (PEM) that are believed beside the system's.
    pub fn new(url: &str, authority: Option<&[u8]>, public_host: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url).ok().context("FRONTDESK_SMTP_URL is not a valid URL")?;
        let from_the_start = url.scheme() == "smtps";
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
            url.port().unwrap_or(if from_the_start { SUBMISSIONS_PORT } else { SUBMISSION_PORT });
        let tls = tls.build().context("TLS cannot be set up")?;
        let hello = match Host::parse(public_host) {
            Ok(Host::Ipv4(address)) => ClientId::Ipv4(address),
            Ok(Host::Ipv6(address)) => ClientId::Ipv6(address),
            _ => ClientId::Domain(public_host.to_owned()),
        };
        Ok(Self { host, port, from_the_start, tls, hello, credentials })
    }

    /// Server and port, for people.
    pub fn described(&self) -> String {
        let how = if self.from_the_start { "TLS" } else { "STARTTLS" };
        format!("{}, port {}, {how}", self.host, self.port)
    }

    /// Hands `mail` over. `Ok` once the server has taken it upon itself.
    pub async fn send(&self, mail: &ComposedMail) -> Result<(), Failure> {
        let mut connection = self.connect().await?;
        let info = connection.server_info();
        let mut options = Vec::new();
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        if !is_ascii(&mail.to) || !is_ascii(&mail.from) {
            if !info.supports_feature(Extension::SmtpUtfEight) {
                return Err(Failure {
                    is_permanent: true,
                    stage: Stage::Recipient,
                    code: None,
                    said: "the mail server does not accept non-ASCII emails (SMTPUTF8)".to_owned(),
                });
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        if !mail.bytes.is_ascii() && info.supports_feature(Extension::EightBitMime) {
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let from = Mail::new(Some(mail.from.clone()), options);
        step(Stage::Sender, COMMAND, connection.command(from)).await?;
        let to = Rcpt::new(mail.to.clone(), Vec::new());
        step(Stage::Recipient, COMMAND, connection.command(to)).await?;
        step(Stage::Content, COMMAND, connection.command(Data)).await?;
        step(Stage::Content, ACCEPTANCE, connection.message(&mail.bytes)).await?;
        leave(connection);
        Ok(())
    }

    /// Connects and signs in, and sends nothing.
    pub async fn probe(&self) -> Result<(), Failure> {
        self.connect().await.map(leave)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let tls = self.from_the_start.then(|| self.tls.clone());
        let first = if tls.is_some() { Stage::Encryption } else { Stage::Connection };
        let connecting = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            Some(COMMAND),
            &self.hello,
            tls,
            None,
        );
        let mut connection = step(first, COMMAND, connecting).await?;
        if !self.from_the_start {
            let upgrading = connection.starttls(self.tls.clone(), &self.hello);
            step(Stage::Encryption, COMMAND, upgrading).await?;
        }
        if !connection.is_encrypted() {
            return Err(Failure {
                is_permanent: false,
                stage: Stage::Encryption,
                code: None,
                said: "the connection is not encrypted".to_owned(),
            });
        }
        if let Some(credentials) = &self.credentials {
            let signing_in = connection.auth(DEFAULT_MECHANISMS, credentials);
            step(Stage::SignIn, COMMAND, signing_in).await?;
        }
        Ok(connection)
    }
}

/// One step of the dialogue. Only what is said about this recipient or this mail can be final; the rest is about the
/// server or our settings, and mail waits for it to be mended.
async fn step<T>(
    stage: Stage,
    within: Duration,
    doing: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    let error = match tokio::time::timeout(within, doing).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error,
        Err(_) => {
            let said = format!("no answer within {} s", within.as_secs());
            return Err(Failure { is_permanent: false, stage, code: None, said });
        }
    };
    let mut said = error.to_string();
    // lettre says it once for each layer, and the stage says it too.
    while let Some(rest) = said.strip_prefix("Connection error: ") {
        said = rest.to_owned();
    }
    let is_about_this_mail = matches!(stage, Stage::Recipient | Stage::Content);
    Err(Failure {
        is_permanent: error.is_permanent() && is_about_this_mail,
        stage,
        code: error.status().map(u16::from),
        said,
    })
}

/// Says good-bye without keeping anybody waiting.
fn leave(mut connection: AsyncSmtpConnection) {
    tokio::spawn(async move {
        tokio::time::timeout(Duration::from_secs(2), connection.quit()).await.ok();
    });
}
