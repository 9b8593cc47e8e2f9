//! Files of a test, read as the daemon reads them.

use std::path::{Path, PathBuf};

use banger_core::parse::parse;
use banger_core::reading::{FileReading, Reading};
use banger_core::validate::{Context, validate};

/// A complete read of these files, as if they lay in `/vms`.
pub fn reading(files: &[(&str, &str)]) -> Reading {
    let files = files
        .iter()
        .map(|(name, text)| file(&Path::new("/vms").join(name), text));
    Reading {
        files: files.collect(),
        incomplete: None,
    }
}

fn file(path: &Path, text: &str) -> FileReading {
    let context = Context {
        home: PathBuf::from("/home/owner"),
    };
    let parsed = parse(path, text.as_bytes());
    let mut reading = FileReading {
        path: path.to_owned(),
        validated: Vec::new(),
        problems: parsed.problems,
    };
    for document in parsed.documents {
        match validate(path, document, &context) {
            Ok(validated) => reading.validated.push(validated),
            Err(problems) => reading.problems.extend(problems),
        }
    }
    reading
}

/// A document of an image.
pub fn image(name: &str) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {{name: {name}}}\n\
         spec: {{rootfs: {{disk: {{path: /images/{name}.ext4}}}}}}\n"
    )
}

/// A document of a VM of that image; `spec` is more of its spec, in flow style.
pub fn vm(name: &str, image: &str, spec: &str) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\n\
         spec: {{image: {image}, {spec}}}\n"
    )
}
