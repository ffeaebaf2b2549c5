//! The catalog in whose language something is rendered. A component of a template cannot read the values of the page
//! that uses it, so the catalog is not one of them: it belongs to the thread while it renders.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};

use super::catalog::Catalog;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Catalog>>> = const { RefCell::new(None) };
}

/// Outside of a render: for values that a handler prepares.
static DEFAULT: RwLock<Option<Arc<Catalog>>> = RwLock::new(None);

/// While it exists, the thread renders in one language. It must not live across an `await`.
pub struct InLanguage {
    before: Option<Arc<Catalog>>,
    /// Not `Send`.
    thread: PhantomData<*const ()>,
}

/// Renders with `catalog` until the returned value is dropped.
#[must_use]
pub fn enter(catalog: &Arc<Catalog>) -> InLanguage {
    let before = CURRENT.replace(Some(Arc::clone(catalog)));
    InLanguage { before, thread: PhantomData }
}

impl Drop for InLanguage {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// Sets the catalog of the process, for texts that are resolved outside of a render.
pub fn set_default(catalog: &Arc<Catalog>) {
    *DEFAULT.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(catalog));
}

/// Calls `read` with the catalog of the render, or else that of the process, or else Frontdesk's own.
pub(crate) fn with_current<T>(read: impl FnOnce(&Catalog) -> T) -> T {
    CURRENT.with_borrow(|current| match current {
        Some(catalog) => read(catalog),
        None => {
            let default = DEFAULT.read().unwrap_or_else(PoisonError::into_inner).clone();
            read(default.as_ref().unwrap_or_else(|| Catalog::own()))
        }
    })
}
