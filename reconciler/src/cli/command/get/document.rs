//! Objects as YAML and JSON: one as itself, several as a `List`.

use banger_core::api::API_VERSION;
use banger_core::api::status::Object;
use serde::Serialize;

use crate::cli::{Exit, Failure};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [Object],
}

fn list(items: &[Object]) -> List<'_> {
    List {
        api_version: API_VERSION,
        kind: "List",
        items,
    }
}

/// YAML, ending in a newline.
pub(in crate::cli) fn yaml(objects: &[Object], single: bool) -> Result<String, Failure> {
    match objects {
        [object] if single => serde_yaml::to_string(object),
        objects => serde_yaml::to_string(&list(objects)),
    }
    .map_err(|error| {
        Failure::new(Exit::Internal, "the objects can't be written as YAML").because(&error)
    })
}

/// JSON, ending in a newline.
pub(in crate::cli) fn json(objects: &[Object], single: bool) -> Result<String, Failure> {
    match objects {
        [object] if single => serde_json::to_string_pretty(object),
        objects => serde_json::to_string_pretty(&list(objects)),
    }
    .map(|text| text + "\n")
    .map_err(|error| {
        Failure::new(Exit::Internal, "the objects can't be written as JSON").because(&error)
    })
}
