//! One document: what it is called, of which kind it is, and what it asks for.

use serde::Serialize;

use super::{API_VERSION, ImageSpec, Kind, Metadata, Name, VirtualMachineSpec};

/// A document of either kind. Writing it gives the canonical YAML or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// The kind and its spec.
    pub body: Body,
}

/// The spec, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `kind: VirtualMachine`.
    VirtualMachine(VirtualMachineSpec),
    /// `kind: Image`.
    Image(ImageSpec),
}

impl Body {
    /// The kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::VirtualMachine(_) => Kind::VirtualMachine,
            Self::Image(_) => Kind::Image,
        }
    }
}

impl Manifest {
    /// The kind.
    pub const fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// The name.
    pub const fn name(&self) -> &Name {
        &self.metadata.name
    }

    /// Canonical YAML: `apiVersion`, `kind`, `metadata`, `spec`, with what is
    /// left out left out, ending in a newline.
    ///
    /// # Errors
    /// None of the nouns can fail to be written; the error is the writer's own.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a, S> {
    api_version: &'static str,
    kind: Kind,
    metadata: &'a Metadata,
    spec: &'a S,
}

impl Serialize for Manifest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn written<'a, T: Serialize>(manifest: &'a Manifest, spec: &'a T) -> Written<'a, T> {
            Written {
                api_version: API_VERSION,
                kind: manifest.kind(),
                metadata: &manifest.metadata,
                spec,
            }
        }
        match &self.body {
            Body::VirtualMachine(spec) => written(self, spec).serialize(serializer),
            Body::Image(spec) => written(self, spec).serialize(serializer),
        }
    }
}
