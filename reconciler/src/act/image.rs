//! Importing and removing images.

use banger_core::intent::{ImageDigest, ImageIntent, Imported};
use banger_core::seam::StepError;

use super::failure;
use super::files;
use super::layout::Layout;
use super::shared::Shared;

impl Shared {
    pub(super) async fn import(
        &self,
        image: &ImageIntent,
        _progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Imported, StepError> {
        Err(StepError::lasting(
            format!("image `{}` can't be imported by this build", image.name()),
            "use a build of bangerd that imports images",
        ))
    }

    /// Removes an image: it vanishes under its name first, then for good.
    pub(super) async fn remove_image(&self, digest: &ImageDigest) -> Result<(), StepError> {
        if !Layout::is_digest(digest) {
            return Err(StepError::lasting(
                format!("`{}` is not an image digest", digest.0),
                "report this as a bug of banger",
            ));
        }
        let image = self.layout.image(digest);
        let going = self.layout.images().join(format!(".removing-{}", digest.0));
        failure::blocking(move || {
            let failed = |error| failure::file("remove the image", &image, error);
            files::remove_directory(&going).map_err(failed)?;
            match std::fs::rename(&image, &going) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(failed(error)),
                Ok(()) => files::remove_directory(&going).map_err(failed),
            }
        })
        .await
    }
}
