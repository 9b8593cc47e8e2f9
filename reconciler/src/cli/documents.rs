//! Documents that the command line is given: files, directories, stdin.
//!
//! Guarantees: what comes out is listed, read, parsed and validated by the same code
//! that the daemon uses; every problem of every file is told, not just the first.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use banger_core::api::Manifest;
use banger_core::parse::parse;
use banger_core::problem::Problem;
use banger_core::validate::{Context as Ground, Validated, validate};

use super::object_ref::ObjectRef;
use super::places::Places;
use super::{Exit, Failure, output, problem};
use crate::source;

/// A file that was given.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// Where it is, absolute; `None` for stdin.
    pub(super) path: Option<PathBuf>,
    /// Its text.
    pub(super) text: String,
    /// Its documents.
    pub(super) documents: Vec<Document>,
}

/// One document of a file.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The object that it declares.
    pub(super) object: ObjectRef,
    /// As written.
    pub(super) manifest: Manifest,
    /// Checked, paths made absolute.
    pub(super) validated: Validated,
    /// Its bytes in the text.
    pub(super) span: Range<usize>,
}

/// What a file's bytes hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// Documents that are as they should be.
    pub(super) documents: Vec<Document>,
    /// What is wrong with the others.
    pub(super) problems: Vec<Problem>,
}

/// Parses and validates a file's bytes. `path` is absolute.
pub(super) fn content(path: &Path, bytes: &[u8], places: &Places) -> Content {
    let ground = Ground {
        home: places.home.clone(),
    };
    let parsed = parse(path, bytes);
    let mut content = Content {
        documents: Vec::new(),
        problems: parsed.problems,
    };
    for document in parsed.documents {
        let manifest = document.manifest.clone();
        let span = document.span.clone();
        match validate(path, document, &ground) {
            Ok(validated) => content.documents.push(Document {
                object: ObjectRef::new(manifest.kind(), manifest.name().clone()),
                manifest,
                validated,
                span,
            }),
            Err(problems) => content.problems.extend(problems),
        }
    }
    content
}

/// Reads all that `-f` names: files, directories (their `*.yaml` and `*.yml`),
/// `-` for stdin. Problems are told on stderr.
///
/// # Errors
/// [`Exit::Invalid`] where anything is wrong with any of them.
pub(super) fn read(names: &[PathBuf], places: &Places) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::new();
    let mut problems = Vec::new();
    for (label, path, bytes) in gather(names)? {
        let here = match &path {
            Some(path) => path.clone(),
            None => absolute(Path::new("stdin"))?,
        };
        let content = content(&here, &bytes, places);
        problems.extend(content.problems.into_iter().map(|problem| Problem {
            file: label.clone(),
            ..problem
        }));
        inputs.push(Input {
            path,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            documents: content.documents,
        });
    }
    problems.extend(declared_twice(&inputs));
    if problems.is_empty() {
        Ok(inputs)
    } else {
        output::note_raw(&problem::render_all(&problems));
        Err(Failure::invalid(match problems.len() {
            1 => "there is a problem with what was given".to_owned(),
            count => format!("there are {count} problems with what was given"),
        })
        .help("nothing was done; correct the lines above and try again"))
    }
}

type Given = (PathBuf, Option<PathBuf>, Vec<u8>);

fn gather(names: &[PathBuf]) -> Result<Vec<Given>, Failure> {
    let mut given = Vec::new();
    for name in names {
        if name.as_os_str() == "-" {
            let bytes = source::capped(io::stdin().lock())
                .map_err(|error| Failure::invalid("stdin can't be read").because(&error))?;
            given.push((PathBuf::from("<stdin>"), None, bytes));
            continue;
        }
        let unread = |path: &Path, error: &io::Error| {
            Failure::invalid(format!("{} can't be read", path.display())).because(error)
        };
        let files = if name.is_dir() {
            let files = source::listed(name).map_err(|error| unread(name, &error))?;
            if files.is_empty() {
                return Err(Failure::invalid(format!(
                    "the directory {} holds no *.yaml or *.yml",
                    name.display()
                )));
            }
            files
        } else {
            vec![name.clone()]
        };
        for file in files {
            let bytes = source::bytes(&file).map_err(|error| unread(&file, &error))?;
            given.push((file.clone(), Some(absolute(&file)?), bytes));
        }
    }
    Ok(given)
}

fn declared_twice(inputs: &[Input]) -> Vec<Problem> {
    let all: Vec<&Document> = inputs.iter().flat_map(|input| &input.documents).collect();
    let again = all.iter().enumerate().filter(|(index, document)| {
        all[..*index]
            .iter()
            .any(|earlier| earlier.object == document.object)
    });
    again
        .map(|(_, document)| Problem {
            message: format!("{} is declared more than once", document.object),
            remedy: Some("keep one of the documents, or rename one".to_owned()),
            ..document.validated.problem("metadata.name")
        })
        .collect()
}

/// The path without `.` and relative parts; symbolic links stay.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(
            Exit::Internal,
            format!("{}: no absolute path", path.display()),
        )
        .because(&error)
    })
}
