//! What the servers of one test and their browsers share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;

use uuid::Uuid;

use super::postgres::Database;
use super::settings::Settings;

/// The program under test, with its database.
pub(super) struct Site {
    pub(super) program: PathBuf,
    /// With the database.
    pub(super) settings: Settings,
    pub(super) database: Database,
    /// How many mails to each recipient the test has read.
    pub(super) read_mails: Mutex<HashMap<String, Vec<Uuid>>>,
}

impl Site {
    /// The site with a database of its own.
    pub(super) fn new(program: &str, settings: &[(&str, &str)]) -> Self {
        let (program, settings) = (PathBuf::from(program), Settings::new(settings));
        let database = Database::new(&program, &settings);
        let settings = settings.with_database(&database.url);
        Self { program, settings, database, read_mails: Mutex::default() }
    }
}
