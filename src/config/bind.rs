//! `FRONTDESK_BIND`: where the site listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::parse::SettingsReader;

const DEFAULT: &str = "127.0.0.1:8080";

/// A place to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// An IP address and a port. Port 0: the system picks a free port.
    Tcp(SocketAddr),
    /// The path of a unix socket, which is created.
    Unix(PathBuf),
}

impl BindAddress {
    /// Whether only programs on this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            BindAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            BindAddress::Unix(_) => true,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => {
                let path = Path::new(path);
                path.is_absolute().then(|| BindAddress::Unix(path.to_owned()))
            }
            None => text.parse().ok().map(BindAddress::Tcp),
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindAddress::Tcp(address) => address.fmt(out),
            BindAddress::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// At least one address, in the order of the setting.
pub(super) fn bind(read: &mut SettingsReader<'_>) -> Vec<BindAddress> {
    let name = "FRONTDESK_BIND";
    let text = read.text(name).unwrap_or(DEFAULT).to_owned();
    let mut addresses = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match BindAddress::parse(part) {
            Some(address) if addresses.contains(&address) && !is_port_zero(&address) => {
                read.problem(name, &format!("contains “{part}” twice"));
            }
            Some(address) => addresses.push(address),
            None => read.problem(
                name,
                &format!("is “{part}”, but must be an IP address and a port like {DEFAULT}, or unix: and an absolute path; several are separated by commas"),
            ),
        }
    }
    if addresses.is_empty() && text.split(',').all(|part| part.trim().is_empty()) {
        read.problem(name, &format!("contains no address. Set it to an address like {DEFAULT}"));
    }
    addresses
}

fn is_port_zero(address: &BindAddress) -> bool {
    matches!(address, BindAddress::Tcp(address) if address.port() == 0)
}
