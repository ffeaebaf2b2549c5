//! The templates that are in use. In development, they are read again when a file has changed.

use std::sync::{Arc, PoisonError, RwLock};

use tera::{Context, Tera};

use super::layers::Layers;
use super::problems::TemplateProblem;
use super::{AssetUrls, load};
use crate::folder;

/// The templates of pages and mails.
pub struct Templates {
    state: RwLock<State>,
    assets: AssetUrls,
    /// Values of all templates.
    globals: Context,
    reloads: bool,
}

#[derive(Clone)]
struct State {
    /// The last templates without problems.
    tera: Arc<Tera>,
    /// The files that were read last.
    layers: Arc<Layers>,
    /// What is wrong with them.
    problems: Arc<Vec<String>>,
    /// They could not be read the last time.
    is_unreadable: bool,
}

impl Templates {
    /// Parses and checks all templates. `globals` are values of all of them.
    pub fn load(
        layers: Layers,
        assets: &AssetUrls,
        globals: Context,
    ) -> Result<Self, Vec<TemplateProblem>> {
        let tera = Arc::new(with_globals(load(&layers, assets)?, &globals));
        let state = State {
            tera,
            layers: Arc::new(layers),
            problems: Arc::default(),
            is_unreadable: false,
        };
        Ok(Self { state: RwLock::new(state), assets: Arc::clone(assets), globals, reloads: false })
    }

    /// The same, read again before each use if a file of the operator's folder or of the site's source code has changed.
    #[must_use]
    pub fn reloading(self) -> Self {
        Self { reloads: true, ..self }
    }

    /// The templates as they are now. If the changed files have a problem, those before.
    pub fn current(&self) -> Arc<Tera> {
        self.state().tera
    }

    /// The files of the layers.
    pub fn layers(&self) -> Arc<Layers> {
        self.state().layers
    }

    /// What is wrong with a file that was changed since the start, with file and line.
    pub fn problems(&self) -> Arc<Vec<String>> {
        self.state().problems
    }

    /// What went wrong when a template was rendered, with file and line.
    pub fn explain(&self, error: &tera::Error) -> String {
        let problems = TemplateProblem::of(&self.state().layers, error);
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    fn state(&self) -> State {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.reloads {
            return state;
        }
        let state = match read_again(&state.layers) {
            Ok(layers) if layers == *state.layers && !state.is_unreadable => return state,
            Ok(layers) => match load(&layers, &self.assets) {
                Ok(tera) => State {
                    tera: Arc::new(with_globals(tera, &self.globals)),
                    layers: Arc::new(layers),
                    problems: Arc::default(),
                    is_unreadable: false,
                },
                Err(problems) => {
                    let problems = problems.iter().map(ToString::to_string).collect();
                    let (layers, problems) = (Arc::new(layers), Arc::new(problems));
                    State { layers, problems, is_unreadable: false, ..state }
                }
            },
            Err(problems) => State { problems: Arc::new(problems), is_unreadable: true, ..state },
        };
        self.state.write().unwrap_or_else(PoisonError::into_inner).clone_from(&state);
        state
    }
}

fn with_globals(mut tera: Tera, globals: &Context) -> Tera {
    tera.global_context().extend(globals.clone());
    tera
}

/// The files of the layers as they are on disk now.
fn read_again(layers: &Layers) -> Result<Layers, Vec<String>> {
    let mut now = layers.clone();
    if let Some((folder, files)) = &mut now.operator {
        *files = folder::read(folder)?;
    }
    if let Some(folder) = now.site_source.as_ref().filter(|folder| folder.is_dir()) {
        now.site = folder::read(folder)?;
    }
    Ok(now)
}
