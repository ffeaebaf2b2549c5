//! Variables that Kubernetes injects into every pod of a namespace for each of its services. For a service
//! named `frontdesk`, they begin like our settings.

/// Whether Kubernetes sets this variable for a service named `frontdesk` or `frontdesk-…`: `…_SERVICE_HOST`,
/// `…_SERVICE_PORT`, `…_SERVICE_PORT_<NAME>`, `…_PORT` and `…_PORT_8080_TCP`, the last also with `_ADDR`,
/// `_PORT` and `_PROTO`.
pub(super) fn is_service_variable(name: &str, value: &str) -> bool {
    // A person who sets FRONTDESK_PORT=8080 means something else.
    if name.ends_with("_PORT") && !name.ends_with("_SERVICE_PORT") && !is_port_variable(name) {
        return ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    }
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || is_port_variable(name)
}

/// `…_PORT_<number>_<protocol>`, and the same with `_ADDR`, `_PORT` or `_PROTO`.
fn is_port_variable(name: &str) -> bool {
    let name = ["_ADDR", "_PORT", "_PROTO"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    let Some(name) = ["_TCP", "_UDP", "_SCTP"].iter().find_map(|suffix| name.strip_suffix(suffix))
    else {
        return false;
    };
    name.rsplit_once("_PORT_").is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_service_named_frontdesk_are_recognized() {
        for (name, value) in [
            ("FRONTDESK_PORT", "tcp://10.96.0.7:8080"),
            ("FRONTDESK_PORT", "udp://10.96.0.7:8080"),
            ("FRONTDESK_SERVICE_HOST", "10.96.0.7"),
            ("FRONTDESK_SERVICE_PORT", "8080"),
            ("FRONTDESK_SERVICE_PORT_HTTP", "8080"),
            ("FRONTDESK_SERVICE_PORT_WEB_2", "8080"),
            ("FRONTDESK_PORT_8080_TCP", "tcp://10.96.0.7:8080"),
            ("FRONTDESK_PORT_8080_TCP_ADDR", "10.96.0.7"),
            ("FRONTDESK_PORT_8080_TCP_PORT", "8080"),
            ("FRONTDESK_PORT_8080_TCP_PROTO", "tcp"),
            ("FRONTDESK_PORT_53_UDP_PROTO", "udp"),
            ("FRONTDESK_PORT_53_SCTP_ADDR", "10.96.0.7"),
            ("FRONTDESK_METRICS_PORT", "tcp://10.96.0.8:9090"),
            ("FRONTDESK_METRICS_SERVICE_HOST", "10.96.0.8"),
        ] {
            assert!(is_service_variable(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("FRONTDESK_PORT", "8080"),
            ("FRONTDESK_PORTS", "tcp://10.96.0.7:8080"),
            ("FRONTDESK_SERVICE", "10.96.0.7"),
            ("FRONTDESK_SERVICE_HOTS", "10.96.0.7"),
            ("FRONTDESK_PORT_HTTP_TCP", "tcp://10.96.0.7:8080"),
            ("FRONTDESK_PORT_8080_TLS", "8080"),
            ("FRONTDESK_PORT_8080_TCP_NAME", "http"),
            ("FRONTDESK_PORT_99999_TCP", "tcp://10.96.0.7:8080"),
            ("FRONTDESK_BIND_PORT", "8080"),
        ] {
            assert!(!is_service_variable(name, value), "{name}={value}");
        }
    }
}
