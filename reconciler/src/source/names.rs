//! Which names in a directory of specs count.

use std::ffi::OsStr;
use std::path::Path;

/// Whether a file of this name is read: `*.yaml` and `*.yml`, but no dotfile
/// and nothing that an editor keeps beside the file it edits: `.#web.yaml`
/// and `#web.yaml#` (Emacs), `.web.yaml.swp` and `web.yaml~` (Vim),
/// `.web.yaml.kate-swp`, `.goutputstream-…`, `web.yaml___jb_tmp___`.
pub(super) fn counts(name: &OsStr) -> bool {
    let first = name.as_encoded_bytes().first();
    let extension = Path::new(name).extension();
    let yaml = extension.is_some_and(|extension| extension == "yaml" || extension == "yml");
    yaml && !matches!(first, Some(b'.' | b'#'))
}
