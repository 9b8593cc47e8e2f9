//! Single files in and out of the host, over the same connection.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};

use crate::{shell::quote, ssh::Ssh};

impl Ssh {
    /// Copies a local file to `target` in the host (a path, or a directory that
    /// gets the file's name), with its mode, as that user. The target appears
    /// whole or not at all.
    ///
    /// # Errors
    /// The file can't be read (directories are refused: make a payload of
    /// them), or the target can't be written.
    pub fn push(&self, user: &str, file: &Path, target: &str) -> Result<()> {
        let source = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        let metadata = source.metadata()?;
        if !metadata.is_file() {
            bail!(
                "{} is not a regular file; directories go in by `up --payload`",
                file.display()
            );
        }
        let mode = metadata.permissions().mode() & 0o777;
        let name = file.file_name().context("the file has no name")?;
        let name = quote(name.to_str().context("the file's name is not UTF-8")?);
        let target_word = quote(target);
        let script = format!(
            "t={target_word}; [ -d \"$t\" ] && t=$t/{name}; \
             cat > \"$t.pushed-$$\" && chmod {mode:o} \"$t.pushed-$$\" && mv -f \"$t.pushed-$$\" \"$t\" \
             || {{ rm -f \"$t.pushed-$$\"; exit 1; }}"
        );
        let output = self
            .command(user, Some(&script), false)?
            .stdin(source)
            .output()
            .context("cannot run ssh")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "cannot write {target} in the host as {user}: {}",
                said.trim_end()
            );
        }
        Ok(())
    }

    /// Copies `source` in the host to a local file, which appears whole or not
    /// at all.
    ///
    /// # Errors
    /// The source can't be read, or the file can't be written.
    pub fn pull(&self, user: &str, source: &str, file: &Path) -> Result<()> {
        let parent = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let part = tempfile::NamedTempFile::new_in(parent)
            .with_context(|| format!("cannot write in {}", parent.display()))?;
        let output = self
            .command(user, Some(&format!("cat -- {}", quote(source))), false)?
            .stdin(Stdio::null())
            .stdout(part.reopen()?)
            .output()
            .context("cannot run ssh")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "cannot read {source} in the host as {user}: {}",
                said.trim_end()
            );
        }
        fs::set_permissions(part.path(), fs::Permissions::from_mode(0o644))?;
        part.persist(file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(())
    }
}
