//! The name of the operator who runs a command.

use std::fs;

/// In bytes. Longer names are cut.
const MAX_LENGTH: usize = 64;

/// The login name of the operator, for the audit log: the user who ran `sudo`, otherwise `LOGNAME`, otherwise
/// the name or the number of the process's user. It helps colleagues to find each other and proves nothing:
/// anyone who may run commands against the database can write anything into the audit log.
pub fn operator_name() -> String {
    let user = rustix::process::getuid();
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| clean(&value));
    let sudo = if user.is_root() { variable("SUDO_USER") } else { None };
    sudo.or_else(|| variable("LOGNAME"))
        .or_else(|| login_name(&fs::read_to_string("/etc/passwd").ok()?, user.as_raw()))
        .unwrap_or_else(|| format!("uid {}", user.as_raw()))
}

/// The name of a user in the text of `/etc/passwd`.
fn login_name(passwd: &str, user: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| clean(name)).flatten()
    })
}

fn clean(name: &str) -> Option<String> {
    let mut clean: String = name.chars().filter(|letter| !letter.is_control()).collect();
    while clean.len() > MAX_LENGTH {
        clean.pop();
    }
    Some(clean.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_number_and_cut() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/sh\n";
        assert_eq!(login_name(passwd, 1000).as_deref(), Some("ada"));
        assert_eq!(login_name(passwd, 7), None);
        assert_eq!(clean("a\nb\u{1b}").as_deref(), Some("ab"));
        assert_eq!(clean(" "), None);
        assert_eq!(clean(&"é".repeat(90)).map(|name| name.len()), Some(MAX_LENGTH));
    }
}
