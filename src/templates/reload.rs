//! The templates that are in use. In development, they are read again when a file has changed.

use std::sync::{Arc, PoisonError, RwLock};

use tera::{Context, Tera};

use super::layers::Layers;
use super::problems::problems_in;
use super::{AssetUrls, load};
use crate::folder::FileProblem;
use crate::language::{self, Catalog};
use crate::lifetimes;

/// The templates of pages and mails.
pub struct Templates {
    loaded: RwLock<Arc<LoadedTemplates>>,
    assets: AssetUrls,
    /// Values of all templates.
    globals: Context,
    reloads: bool,
}

/// The templates at one moment.
pub struct LoadedTemplates {
    /// The last ones without problems.
    pub tera: Arc<Tera>,
    /// The messages, of the same moment.
    pub catalog: Arc<Catalog>,
    /// The files that were read last.
    pub layers: Arc<Layers>,
    /// What is wrong with a file that was changed since the start, with file and line.
    pub problems: Vec<String>,
    /// The files could not be read the last time.
    is_unreadable: bool,
}

impl LoadedTemplates {
    /// The messages of a language, or those in English if there are none of it. English is the only language, so they
    /// always are.
    pub fn catalog_of(&self, _language: &str) -> &Arc<Catalog> {
        &self.catalog
    }

    /// What went wrong when a template was rendered, with file and line.
    pub fn explain(&self, error: &tera::Error) -> String {
        let problems = problems_in(&self.layers, error);
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl Templates {
    /// Parses and checks all templates. `globals` are values of all of them.
    pub fn load(
        layers: Layers,
        assets: &AssetUrls,
        globals: Context,
    ) -> Result<Self, Vec<FileProblem>> {
        let (tera, catalog) = load_all(&layers, assets)?;
        let loaded = LoadedTemplates {
            tera: Arc::new(with_globals(tera, &globals, &catalog)),
            catalog,
            layers: Arc::new(layers),
            problems: Vec::new(),
            is_unreadable: false,
        };
        let loaded = RwLock::new(Arc::new(loaded));
        Ok(Self { loaded, assets: Arc::clone(assets), globals, reloads: false })
    }

    /// The same, whose messages are also those of texts that are resolved outside of a render.
    #[must_use]
    pub fn of_process(self) -> Self {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        language::set_default(&loaded.catalog);
        drop(loaded);
        self
    }

    /// The same, read again before each use if a file of the operator's folder or of the site's source code has changed.
    #[must_use]
    pub fn reloading(self) -> Self {
        Self { reloads: true, ..self }
    }

    /// The templates as they are now. If the changed files have a problem, those before, with the problem.
    pub fn current(&self) -> Arc<LoadedTemplates> {
        let loaded = Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner));
        if !self.reloads {
            return loaded;
        }
        let now = match read_again(&loaded.layers) {
            Ok(layers) if layers == *loaded.layers && !loaded.is_unreadable => return loaded,
            Ok(layers) => self.load_again(layers, &loaded),
            Err(problems) => LoadedTemplates {
                tera: Arc::clone(&loaded.tera),
                catalog: Arc::clone(&loaded.catalog),
                layers: Arc::clone(&loaded.layers),
                problems,
                is_unreadable: true,
            },
        };
        let now = Arc::new(now);
        language::set_default(&now.catalog);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&now);
        now
    }

    fn load_again(&self, layers: Layers, before: &LoadedTemplates) -> LoadedTemplates {
        let (tera, catalog, problems) = match load_all(&layers, &self.assets) {
            Ok((tera, catalog)) => {
                (Arc::new(with_globals(tera, &self.globals, &catalog)), catalog, Vec::new())
            }
            Err(problems) => {
                let problems = problems.iter().map(ToString::to_string).collect();
                (Arc::clone(&before.tera), Arc::clone(&before.catalog), problems)
            }
        };
        LoadedTemplates { tera, catalog, layers: Arc::new(layers), problems, is_unreadable: false }
    }
}

/// The templates and the messages that they use.
fn load_all(layers: &Layers, assets: &AssetUrls) -> Result<(Tera, Arc<Catalog>), Vec<FileProblem>> {
    let mut problems = language::problems(&layers.messages);
    let catalog = Catalog::load(&layers.messages);
    match load(layers, assets, &catalog) {
        Ok(tera) if problems.is_empty() => Ok((tera, Arc::new(catalog))),
        Ok(_) => Err(problems),
        Err(others) => {
            problems.extend(others);
            Err(problems)
        }
    }
}

/// `lifetimes` are words of the catalog.
fn with_globals(mut tera: Tera, globals: &Context, catalog: &Arc<Catalog>) -> Tera {
    let _language = language::enter(catalog);
    tera.global_context().extend(globals.clone());
    tera.global_context().insert("lifetimes", &lifetimes::for_templates());
    tera
}

/// The files of the layers as they are on disk now.
fn read_again(layers: &Layers) -> Result<Layers, Vec<String>> {
    let Layers { templates, messages } = layers;
    Ok(Layers { templates: templates.read_again()?, messages: messages.read_again()? })
}
