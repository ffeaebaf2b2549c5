//! The session of a connection that outlives its request.

use std::sync::{Arc, OnceLock};

use actix_web::web::Data;

use crate::app::App;
use crate::crypto::secret::Secret;
use crate::session::Requester;
use crate::session::live::SessionWatch;

/// Watches the session of a user from the first use on. Clones share the watch.
#[derive(Clone)]
pub(super) struct LiveSession {
    app: Data<App>,
    watch: Arc<OnceLock<SessionWatch>>,
}

impl LiveSession {
    pub(super) fn new(app: Data<App>) -> Self {
        Self { app, watch: Arc::default() }
    }

    pub(super) fn watch(&self, requester: &Requester) -> &SessionWatch {
        self.watch.get_or_init(|| {
            // The session of a request always has a secret.
            let digest =
                requester.token_digest.clone().unwrap_or_else(|| Secret::generate().digest());
            self.app.sessions.watch(digest, requester.user, requester.origin.ip_address)
        })
    }
}
