//! The schemas (JSON Schema, draft 2020-12).

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::api::{ImageSpec, Metadata, VirtualMachineSpec};

/// A VM: a Firecracker microVM as its owner wants it.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is of use")]
struct VirtualMachine {
    /// The version of the format.
    #[schemars(extend("const" = "banger.dev/v1alpha1"))]
    api_version: String,
    /// The kind.
    #[schemars(extend("const" = "VirtualMachine"))]
    kind: String,
    /// Name, labels, annotations.
    metadata: Metadata,
    /// What is wanted.
    spec: VirtualMachineSpec,
}

/// An image: a root file system and the kernel to boot it with.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is of use")]
struct Image {
    /// The version of the format.
    #[schemars(extend("const" = "banger.dev/v1alpha1"))]
    api_version: String,
    /// The kind.
    #[schemars(extend("const" = "Image"))]
    kind: String,
    /// Name, labels, annotations.
    metadata: Metadata,
    /// What is wanted.
    spec: ImageSpec,
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

fn root<T: JsonSchema>() -> Value {
    generator().into_root_schema_for::<T>().into()
}

/// `schema/virtualmachine.json`: one document, `kind: VirtualMachine`.
pub fn virtual_machine() -> Value {
    root::<VirtualMachine>()
}

/// `schema/image.json`: one document, `kind: Image`.
pub fn image() -> Value {
    root::<Image>()
}

/// `schema/config.json`: `config.toml`.
pub fn config() -> Value {
    root::<crate::config::Config>()
}

/// `schema/banger.json`: a document of either kind. Editors check each document
/// of a file against it.
pub fn banger() -> Value {
    let mut generator = generator();
    let kinds: Vec<Schema> = vec![
        generator.subschema_for::<VirtualMachine>(),
        generator.subschema_for::<Image>(),
    ];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "banger",
        "description": "A document of banger's: a VirtualMachine or an Image.",
        "oneOf": kinds,
        "$defs": generator.take_definitions(true),
    })
}
