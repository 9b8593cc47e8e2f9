//! JSON Schema of everything that people write, and the reference made from
//! it. Generated from the types; `schema/*.json` and `docs/spec-reference.md`
//! are compared with this by a test.

mod documents;
mod reference;

pub use documents::{banger, config, image, virtual_machine};
pub use reference::reference;
