//! The client of a request: IP address, user agent, request id. Must trust `X-Forwarded-For` only from a
//! trusted proxy; actix-web's `ConnectionInfo` trusts it from any peer.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{HeaderMap, HeaderName, USER_AGENT};
use actix_web::{HttpMessage as _, HttpRequest, web};
use ipnet::IpNet;
use uuid::Uuid;

/// The id of a request, in its log lines, its response header and on its error page.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub Uuid);

/// The networks whose `X-Forwarded-For` is trusted; none if empty. Application data of the site.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

tokio::task_local! {
    static CURRENT_IP: Option<IpAddr>;
}

/// The only header that is read. `Forwarded`, `X-Real-IP` and similar headers are always ignored, because a
/// proxy that does not set them passes on the client's value.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The IP address of the client: the peer or, if the peer is a trusted proxy, the rightmost IP address in
/// `X-Forwarded-For` that is not a trusted proxy. The rest of the header is client-controlled. IPv4-mapped
/// IPv6 addresses are converted to IPv4.
pub fn ip_address(request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    Some(match request.app_data::<web::Data<TrustedProxies>>() {
        Some(proxies) => proxies.client(peer, request.headers()),
        None => peer,
    })
}

impl TrustedProxies {
    fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let lines: Vec<&[u8]> =
            headers.get_all(FORWARDED_FOR).map(|line| line.as_bytes()).collect();
        let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        while self.contains(client) {
            // At the end of the header, or at an entry that is not an IP address, the last proxy is treated
            // as the client.
            let Some(forwarded_ip) = hops.next().and_then(forwarded_ip) else { break };
            client = forwarded_ip;
        }
        client
    }
}

/// Parses `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`.
fn forwarded_ip(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    plain.or_else(with_port).or_else(in_brackets).map(|ip| ip.to_canonical())
}

/// Runs `work`, which answers a request from `ip`.
pub(super) async fn with_ip<T>(ip: Option<IpAddr>, work: impl Future<Output = T>) -> T {
    CURRENT_IP.scope(ip, work).await
}

/// The IP address of the client whose request this task answers: for the session store, which actix-session
/// calls without the request. `None` outside of a request.
pub fn current_ip() -> Option<IpAddr> {
    CURRENT_IP.try_with(|ip| *ip).ok().flatten()
}

/// The `User-Agent` header, unchanged; `None` if it is missing or not ASCII.
pub fn user_agent(request: &HttpRequest) -> Option<&str> {
    request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok())
}

/// The id of this request.
pub fn request_id(request: &HttpRequest) -> Option<Uuid> {
    request.extensions().get::<RequestId>().map(|id| id.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn client(trusted: &str, peer: &str, lines: &[(&str, &str)]) -> String {
        let networks = trusted.split_whitespace().map(|net| net.parse().unwrap()).collect();
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        let mut request = TestRequest::default()
            .peer_addr(peer)
            .app_data(web::Data::new(TrustedProxies(networks)));
        for line in lines {
            request = request.append_header(*line);
        }
        ip_address(&request.to_http_request()).unwrap().to_string()
    }

    #[test]
    fn the_header_is_trusted_only_from_a_trusted_proxy_and_only_its_right_end() {
        const XFF: &str = "X-Forwarded-For";
        let trusted = "10.0.0.0/8 2001:db8:aa::/48";
        for (peer, lines, expected) in [
            // From an untrusted peer the header is ignored.
            ("198.51.100.1", &[(XFF, "203.0.113.7")][..], "198.51.100.1"),
            ("198.51.100.1", &[(XFF, "10.0.0.2")], "198.51.100.1"),
            ("::1", &[(XFF, "203.0.113.7")], "::1"),
            // From a trusted proxy: the rightmost that is not trusted.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "203.0.113.7")], "203.0.113.7"),
            ("10.0.0.1", &[(XFF, "1.1.1.1, 203.0.113.7")], "203.0.113.7"),
            ("10.0.0.1", &[(XFF, "1.1.1.1,203.0.113.7,\t10.0.0.2 , 10.9.9.9")], "203.0.113.7"),
            ("10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("2001:db8:aa::1", &[(XFF, "2001:db8:bb::1")], "2001:db8:bb::1"),
            ("::ffff:10.0.0.1", &[(XFF, "203.0.113.7")], "203.0.113.7"),
            // Repeated headers are one list.
            ("10.0.0.1", &[(XFF, "1.1.1.1"), (XFF, "203.0.113.7")], "203.0.113.7"),
            (
                "10.0.0.1",
                &[(XFF, "1.1.1.1, 203.0.113.7"), ("x-forwarded-for", "10.0.0.2")],
                "203.0.113.7",
            ),
            // Ports and brackets.
            ("10.0.0.1", &[(XFF, "203.0.113.7:5678")], "203.0.113.7"),
            ("10.0.0.1", &[(XFF, "[2001:db8::1]:443")], "2001:db8::1"),
            ("10.0.0.1", &[(XFF, "[2001:db8::1]")], "2001:db8::1"),
            ("10.0.0.1", &[(XFF, "2001:DB8::1")], "2001:db8::1"),
            ("10.0.0.1", &[(XFF, "::ffff:203.0.113.7")], "203.0.113.7"),
            ("10.0.0.1", &[(XFF, "203.0.113.7, ::ffff:10.0.0.2")], "203.0.113.7"),
            ("10.0.0.1", &[(XFF, "203.0.113.7, [2001:db8:aa::9]:80")], "203.0.113.7"),
            // An invalid entry at the right end: the proxy that sent it is the client.
            ("10.0.0.1", &[(XFF, "203.0.113.7, unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "203.0.113.7, unknown, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(XFF, "203.0.113.7,")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "203.0.113.7"), (XFF, "")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "203.0.113.007")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "203.0.113.7:99999")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "[203.0.113.7")], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "_hidden")], "10.0.0.1"),
            // An invalid entry to the left of the client is ignored.
            ("10.0.0.1", &[(XFF, "' OR 1=1 --, 203.0.113.7")], "203.0.113.7"),
            // Other headers are ignored.
            ("10.0.0.1", &[("Forwarded", "for=203.0.113.7")], "10.0.0.1"),
            ("10.0.0.1", &[("X-Real-IP", "203.0.113.7")], "10.0.0.1"),
        ] {
            assert_eq!(client(trusted, peer, lines), expected, "{peer} {lines:?}");
        }
        assert_eq!(client("", "10.0.0.1", &[(XFF, "203.0.113.7")]), "10.0.0.1");
    }
}
