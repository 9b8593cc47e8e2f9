//! The person's directories of documents: read whole, changed in memory, shown
//! to the daemon as they would be, and only then written.
//!
//! Guarantees: exactly the document that is meant changes; what is written is
//! parsed again first, and refused where it doesn't say what was meant; a file
//! that changed since it was read is not overwritten.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use banger_core::api::Name;
use banger_core::edit::{self, EditError};

use super::documents::{Content, Document, Input, content};
use super::object_ref::ObjectRef;
use super::places::Places;
use super::surgery;
use super::write::Write;
use super::{Exit, Failure};
use crate::source;
use crate::wire::request::OverlayFile;

/// The directories, with changes that aren't written yet.
#[derive(Debug)]
pub(super) struct Workspace {
    places: Places,
    files: BTreeMap<PathBuf, SourceFile>,
}

#[derive(Debug)]
struct SourceFile {
    /// As read; `None`: it isn't there.
    before: Option<Vec<u8>>,
    /// As it is to be; `None`: it goes.
    now: Option<String>,
    content: Content,
}

impl Workspace {
    /// Reads the directories. What can't be read is left out: it belongs to the
    /// daemon to tell, and nothing is written where it stands.
    pub(super) fn open(places: Places) -> Self {
        let mut files = BTreeMap::new();
        for directory in places.sources() {
            for path in source::listed(&directory).unwrap_or_default() {
                let Ok(bytes) = source::bytes(&path) else {
                    continue;
                };
                let content = content(&path, &bytes, &places);
                let now = Some(String::from_utf8_lossy(&bytes).into_owned());
                let before = Some(bytes);
                files.insert(
                    path,
                    SourceFile {
                        before,
                        now,
                        content,
                    },
                );
            }
        }
        Self { places, files }
    }

    /// Whether a file that was given is one of the directories' own.
    pub(super) fn holds(&self, input: &Input) -> bool {
        let Some(given) = input.path.as_ref().and_then(|path| parent_of(path)) else {
            return false;
        };
        let sources = self.places.sources();
        sources
            .iter()
            .any(|source| source.canonicalize().is_ok_and(|it| it == given))
    }

    /// Takes a document over: in the place of the one that declares the same
    /// object, or as a file of its own.
    ///
    /// # Errors
    /// Where several documents declare it, its place can't be read, or the
    /// result would say something else.
    pub(super) fn put(&mut self, input: &Input, document: &Document) -> Result<(), Failure> {
        let object = &document.object;
        let own = surgery::with_absolute_paths(&input.text, document).ok_or_else(|| {
            Failure::invalid(format!(
                "{object}: a relative path in it can't be made absolute"
            ))
            .help("write the paths of the image as absolute paths")
        })?;
        let (path, text) = match self.declared_in(object)? {
            Some(path) => {
                let text = self.files[&path].now.as_deref().unwrap_or_default();
                let new = edit::replace(text, object.kind, &object.name, &own)
                    .map_err(|error| refused(object, &path, &error))?;
                (path, new)
            }
            None => {
                let path = self
                    .places
                    .source_of(object.kind)
                    .join(format!("{}.yaml", object.name));
                if self.files.get(&path).is_some_and(|file| file.now.is_some())
                    || (!self.files.contains_key(&path) && path.symlink_metadata().is_ok())
                {
                    return Err(taken(object, &path));
                }
                // A file for one document keeps its comments, such as a modeline.
                let text = match input.documents.as_slice() {
                    [_] => edit::replace(&input.text, object.kind, &object.name, &own),
                    _ => edit::append("", &own),
                }
                .map_err(|error| refused(object, &path, &error))?;
                (path, text.trim_start_matches('\u{feff}').to_owned())
            }
        };
        let content = content(&path, text.as_bytes(), &self.places);
        let arrived = content.documents.iter().any(|it| {
            it.object == *object
                && it.validated.body == document.validated.body
                && it.validated.metadata == document.validated.metadata
        });
        if !arrived || self.neighbours(&path, object) != others(&content, object) {
            return Err(Failure::new(
                Exit::Conflict,
                format!("{object} can't be put into {} safely", path.display()),
            )
            .help(format!(
                "edit {} by hand, then run `banger apply -f {0}`",
                path.display()
            )));
        }
        self.set(path, Some(text), content);
        Ok(())
    }

    /// Takes an object's document out; `None` where nothing declares it, else
    /// the file that did.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(super) fn take_out(&mut self, object: &ObjectRef) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = self.declared_in(object)? else {
            return Ok(None);
        };
        let text = self.files[&path].now.as_deref().unwrap_or_default();
        let text = match edit::remove(text, object.kind, &object.name)
            .map_err(|error| refused(object, &path, &error))?
        {
            edit::Removal::Text(text) => text,
            edit::Removal::Empty => {
                self.set(path.clone(), None, Content::default());
                return Ok(Some(path));
            }
        };
        let content = content(&path, text.as_bytes(), &self.places);
        if others(&content, object) != self.neighbours(&path, object)
            || content.documents.iter().any(|it| it.object == *object)
        {
            return Err(Failure::new(
                Exit::Conflict,
                format!("{object} can't be taken out of {} safely", path.display()),
            )
            .help("delete its document there by hand, then run this again"));
        }
        self.set(path.clone(), Some(text), content);
        Ok(Some(path))
    }

    /// Puts a document back that was taken out: into the file that it stood in,
    /// beside what stands there now, or into a file of its own. Answers the file.
    ///
    /// # Errors
    /// Where a document declares the object, its place is taken, or the text
    /// doesn't say what it is to say.
    pub(super) fn put_back(
        &mut self,
        object: &ObjectRef,
        text: &str,
        file: Option<&Path>,
    ) -> Result<PathBuf, Failure> {
        if let Some(path) = self.declared_in(object)? {
            let what = format!("{object} is declared in {} already", path.display());
            return Err(Failure::new(Exit::Conflict, what)
                .help("take that document out, or give it another name, then try again"));
        }
        let sources = self.places.sources();
        let own = self
            .places
            .source_of(object.kind)
            .join(format!("{}.yaml", object.name));
        let old = file.filter(|file| {
            let is_source = |parent: &Path| sources.iter().any(|source| source == parent);
            file.parent().is_some_and(is_source)
        });
        let is_there = |path: &Path| self.files.get(path).is_some_and(|it| it.now.is_some());
        let (path, now) = match old {
            Some(path) if is_there(path) => {
                let text = self.files[path].now.clone().unwrap_or_default();
                (path.to_owned(), text)
            }
            // A link to nowhere, or what can't be read, is nothing to write to.
            Some(path) if path.symlink_metadata().is_err() => (path.to_owned(), String::new()),
            _ if !is_there(&own) && own.symlink_metadata().is_err() => (own, String::new()),
            _ => return Err(taken(object, &own)),
        };
        let new = if now.trim().is_empty() {
            text.to_owned()
        } else {
            edit::append(&now, text).map_err(|error| refused(object, &path, &error))?
        };
        let content = content(&path, new.as_bytes(), &self.places);
        let arrived = content.documents.iter().any(|it| it.object == *object);
        if !arrived || others(&content, object) != self.neighbours(&path, object) {
            return Err(Failure::new(
                Exit::Conflict,
                format!("{object} can't be put back into {} safely", path.display()),
            )
            .help("`banger trash list -o yaml` has its document: put it there by hand"));
        }
        self.set(path.clone(), Some(new), content);
        Ok(path)
    }

    /// Changes the name in an object's document, and nothing else. Answers the file.
    ///
    /// # Errors
    /// Where nothing declares it, something declares the new name, or the name
    /// is written in a way that can't be replaced safely.
    pub(super) fn rename(&mut self, object: &ObjectRef, to: &Name) -> Result<PathBuf, Failure> {
        let new = ObjectRef::new(object.kind, to.clone());
        if let Some(path) = self.declared_in(&new)? {
            let what = format!("{new} is declared in {} already", path.display());
            return Err(Failure::new(Exit::Conflict, what).help("choose another name"));
        }
        let path = self.declared_in(object)?.ok_or_else(|| {
            Failure::new(Exit::Conflict, format!("no document declares {object}"))
                .help("put its document back, then try again")
        })?;
        let file = &self.files[&path];
        let document = file
            .content
            .documents
            .iter()
            .find(|it| it.object == *object);
        let unsafe_to = || {
            let what = format!(
                "the name of {object} can't be changed in {}",
                path.display()
            );
            Failure::new(Exit::Conflict, what).help(
                "correct the document, or write the name as one plain word behind `name:`, then \
                 try again",
            )
        };
        let document = document.ok_or_else(unsafe_to)?;
        let text = file.now.as_deref().unwrap_or_default();
        let text = surgery::with_name(text, document, to).ok_or_else(unsafe_to)?;
        let content = content(&path, text.as_bytes(), &self.places);
        let (body, metadata) = (&document.validated.body, &document.validated.metadata);
        let arrived = content.documents.iter().any(|it| {
            let mut named = it.validated.metadata.clone();
            named.name.clone_from(&object.name);
            it.object == new && it.validated.body == *body && named == *metadata
        });
        if !arrived || others(&content, &new) != self.neighbours(&path, object) {
            return Err(unsafe_to());
        }
        self.set(path.clone(), Some(text), content);
        Ok(path)
    }

    /// The files that change, as the daemon is to imagine them.
    pub(super) fn overlay(&self) -> Vec<OverlayFile> {
        self.changed()
            .map(|(path, file)| OverlayFile {
                path: path.clone(),
                text: file.now.clone(),
            })
            .collect()
    }

    /// The writes that are to be done, in order.
    pub(super) fn writes(&self) -> Vec<Write> {
        self.changed()
            .map(|(path, file)| Write {
                path: path.clone(),
                before: file.before.clone(),
                after: file.now.clone(),
            })
            .collect()
    }

    fn changed(&self) -> impl Iterator<Item = (&PathBuf, &SourceFile)> {
        self.files
            .iter()
            .filter(|(_, file)| file.before.as_deref() != file.now.as_deref().map(str::as_bytes))
    }

    fn set(&mut self, path: PathBuf, now: Option<String>, content: Content) {
        let file = self.files.entry(path).or_insert_with(|| SourceFile {
            before: None,
            now: None,
            content: Content::default(),
        });
        file.now = now;
        file.content = content;
    }

    /// The one file that declares an object, well or badly.
    fn declared_in(&self, object: &ObjectRef) -> Result<Option<PathBuf>, Failure> {
        let key = Some((object.kind, object.name.clone()));
        let mut found: Option<&PathBuf> = None;
        for (path, file) in &self.files {
            let content = &file.content;
            let well = content.documents.iter().any(|it| it.object == *object);
            if !well && !content.problems.iter().any(|it| it.object == key) {
                continue;
            }
            if let Some(other) = found {
                let (one, two) = (other.display(), path.display());
                let what = format!("{object} is declared in {one} and again in {two}");
                return Err(Failure::new(Exit::Conflict, what).help("delete one of the documents"));
            }
            found = Some(path);
        }
        Ok(found.cloned())
    }

    fn neighbours(&self, path: &Path, object: &ObjectRef) -> Vec<Neighbour> {
        self.files
            .get(path)
            .map(|file| others(&file.content, object))
            .unwrap_or_default()
    }
}

type Neighbour = (
    ObjectRef,
    banger_core::api::Body,
    banger_core::api::Metadata,
);

fn others(content: &Content, object: &ObjectRef) -> Vec<Neighbour> {
    content
        .documents
        .iter()
        .filter(|it| it.object != *object)
        .map(|it| {
            let validated = &it.validated;
            (
                it.object.clone(),
                validated.body.clone(),
                validated.metadata.clone(),
            )
        })
        .collect()
}

fn refused(object: &ObjectRef, path: &Path, error: &EditError) -> Failure {
    let what = format!("{object} can't be changed in {}", path.display());
    Failure::new(Exit::Conflict, what)
        .because(error)
        .help("edit that file by hand")
}

fn taken(object: &ObjectRef, path: &Path) -> Failure {
    Failure::new(
        Exit::Conflict,
        format!(
            "{object} would go into {}, but that file holds something else",
            path.display()
        ),
    )
    .help("rename that file, or add the document to it by hand")
}

fn parent_of(path: &Path) -> Option<PathBuf> {
    let canonical: io::Result<PathBuf> = path.parent()?.canonicalize();
    canonical.ok()
}
