//! `FRONTDESK_TRUSTED_PROXIES`: the proxies whose forwarding headers are trusted. None by default.

use super::parse::SettingsReader;

/// IP addresses and networks, separated by commas.
pub(super) fn trusted_proxies(read: &mut SettingsReader<'_>) -> Vec<ipnet::IpNet> {
    let name = "FRONTDESK_TRUSTED_PROXIES";
    let text = read.text(name).unwrap_or_default().to_owned();
    let mut networks = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let network =
            part.parse().or_else(|_| part.parse::<std::net::IpAddr>().map(ipnet::IpNet::from));
        match network {
            Ok(network) => networks.push(network),
            Err(_) => read.problem(
                name,
                &format!("contains “{part}”, but must be a list of IP addresses and networks like 10.0.0.0/8,::1"),
            ),
        }
    }
    networks
}
