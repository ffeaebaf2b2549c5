//! `FRONTDESK_TRUSTED_PROXIES`: the proxies whose forwarding headers are trusted. None by default.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::parse::SettingsReader;

/// Shorter prefixes are refused. The largest networks that a site has of its own are 10.0.0.0/8 and fc00::/7.
const MIN_PREFIX_V4: u8 = 8;
const MIN_PREFIX_V6: u8 = 7;
/// The prefix of IPv4-mapped IPv6 addresses, ::ffff:0:0/96.
const MAPPED_PREFIX: u8 = 96;

/// IP addresses and networks, separated by commas.
pub(super) fn trusted_proxies(read: &mut SettingsReader<'_>) -> Vec<IpNet> {
    let name = "FRONTDESK_TRUSTED_PROXIES";
    let text = read.text(name).unwrap_or_default().to_owned();
    let mut networks = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let network = part.parse().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
        match network.map(canonical_network) {
            Ok(network) if covers_too_much(&network) => read.problem(
                name,
                &format!("contains “{part}”, which covers so much of the internet that any client could choose its IP address. Name the IP addresses or networks of your proxies"),
            ),
            Ok(network) => networks.push(network),
            Err(_) => read.problem(
                name,
                &format!("contains “{part}”, but must be a list of IP addresses and networks like 10.0.0.0/8,::1"),
            ),
        }
    }
    networks
}

/// Clients are compared and stored with their canonical address, in which an IPv4-mapped IPv6 address is IPv4.
/// So networks of mapped addresses are converted too.
pub fn canonical_network(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let ipv4 = mapped.network().to_ipv4_mapped();
    match (ipv4, mapped.prefix_len().checked_sub(MAPPED_PREFIX)) {
        (Some(ip), Some(prefix)) => Ipv4Net::new(ip, prefix).map_or(network, IpNet::V4),
        _ => network,
    }
}

fn covers_too_much(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < MIN_PREFIX_V4,
        IpNet::V6(network) => {
            // A short prefix of the mapped range means IPv4 addresses that it would not match.
            let has_mapped = network.contains(&Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0));
            network.prefix_len() < MIN_PREFIX_V6 || has_mapped
        }
    }
}
