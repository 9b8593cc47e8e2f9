//! Errors of steps, worded for a person.

use std::io;
use std::path::Path;

use banger_core::seam::StepError;

/// A file operation failed: `make the root disk /…: No space left on device`.
pub(super) fn file(doing: &str, path: &Path, error: io::Error) -> StepError {
    let message = format!("{doing} {}: {error}", path.display());
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free space on that file system, or empty banger's trash")
        }
        io::ErrorKind::PermissionDenied => {
            Some("the state directory must belong to the user that bangerd runs as")
        }
        _ => None,
    };
    StepError {
        remedy: remedy.map(str::to_owned),
        ..StepError::transient(message)
    }
    .because(error)
}

/// The closure ran on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(StepError::transient("a step ended in a panic").because(error)),
    }
}
