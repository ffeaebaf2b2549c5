//! The features of the crate that a program may be built without, and the settings that need them.

use std::collections::BTreeMap;

use super::parse::SettingsReader;

/// Settings, the feature that each needs, and whether it is built in.
const NEEDED: [(&str, &str, bool); 3] = [
    ("FRONTDESK_METRICS_BIND", "metrics", cfg!(feature = "metrics")),
    ("FRONTDESK_SMTP_URL", "smtp", cfg!(feature = "smtp")),
    ("FRONTDESK_SMTP_CA_FILE", "smtp", cfg!(feature = "smtp")),
];

/// Something needs a feature that this program was built without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{needed_by} needs the feature {feature}, which this program was built without")]
pub struct MissingFeature {
    /// A setting or a command.
    pub needed_by: &'static str,
    /// The name of the feature in `Cargo.toml`.
    pub feature: &'static str,
}

/// A sentence for each setting that nothing would read, because this program was built without a feature, and for
/// `DATABASE_URL` if it is missing and there is no private PostgreSQL.
pub fn missing_features(settings: &BTreeMap<String, String>) -> Vec<String> {
    let read = SettingsReader::new(settings);
    let mut problems: Vec<String> = NEEDED
        .iter()
        .filter(|(name, _, is_built)| !is_built && read.is_set(name))
        .map(|&(needed_by, feature, _)| {
            let missing = MissingFeature { needed_by, feature };
            format!("{missing}. Remove the setting, or build the program with the feature.")
        })
        .collect();
    if !cfg!(feature = "private-postgres") && !read.is_set("DATABASE_URL") {
        problems.push(
            "DATABASE_URL must be set: a private PostgreSQL needs the feature private-postgres, which this program was built without."
                .to_owned(),
        );
    }
    problems
}
