//! The commands, one per file.

pub(super) mod apply;
pub(super) mod completion;
pub(super) mod config;
pub(super) mod db;
pub(super) mod delete;
pub(super) mod describe;
pub(super) mod diff;
pub(super) mod events;
pub(super) mod gc;
pub(super) mod get;
pub(super) mod logs;
pub(super) mod rename;
pub(super) mod schema;
pub(super) mod trash;
pub(super) mod undelete;
pub(super) mod validate;
pub(super) mod version;
pub(super) mod vm;
pub(super) mod wait;
