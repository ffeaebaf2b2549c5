//! The name of the program that runs: `frontdesk`, or that of a site's program. Every message that shows a command
//! uses it.

use std::path::Path;
use std::sync::OnceLock;

static NAME: OnceLock<String> = OnceLock::new();

/// The file name of the program, as it was called. `frontdesk` in a program that does not call [`set_name`].
pub fn name() -> &'static str {
    NAME.get().map_or("frontdesk", String::as_str)
}

/// Sets the name from the first argument of the process. Only the first call has an effect.
pub fn set_name() {
    let called_as = std::env::args_os().next().unwrap_or_default();
    if let Some(name) = Path::new(&called_as).file_name() {
        NAME.get_or_init(|| name.to_string_lossy().into_owned());
    }
}
