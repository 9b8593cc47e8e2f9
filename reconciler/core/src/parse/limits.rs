//! How much of a file is read, and why no more.

/// A file: 1 MiB. A thousand VMs with ten keys each fit; a disk image that
/// somebody renamed to `.yaml` does not.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Documents of one file. The smallest subnet that holds so many VMs is a /22;
/// beyond that people use several files.
pub const MAX_DOCUMENTS: usize = 1_000;

/// Nesting of one document. The deepest field of either kind is 6 deep; every
/// level costs stack.
pub const MAX_DEPTH: usize = 32;

/// Keys, values, lists and mappings of one document.
pub const MAX_NODES: usize = 20_000;

/// Aliases (`*name`) of one document.
pub const MAX_ALIASES: usize = 100;

/// Nodes that the aliases of one document may stand for, all together: a
/// "YAML bomb" grows tenfold with every line.
pub const MAX_ALIASED_NODES: usize = 2_000;

/// Problems that are reported of one file; after a hundred nobody reads on.
pub const MAX_PROBLEMS: usize = 100;
