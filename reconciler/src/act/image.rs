//! Importing and removing images.

use banger_core::api::Quantity;
use banger_core::api::image::FileSource;
use banger_core::intent::{ImageDigest, ImageIntent, Imported};
use banger_core::seam::StepError;
use tokio::sync::watch;

use super::failure;
use super::files;
use super::layout::Layout;
use super::shared::Shared;
use crate::image::{ImportRequest, SourceFile, import, remove};

impl Shared {
    /// Imports on a thread that may block, and passes its progress on.
    pub(super) async fn import(
        &self,
        image: &ImageIntent,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Imported, StepError> {
        let request = self.import_request(image)?;
        let images = self.layout.images();
        files::private_directory(&images)
            .map_err(|error| failure::file("make the images' directory", &images, error))?;
        let (tell, mut told) = watch::channel((0, 0));
        let mut importing = tokio::task::spawn_blocking(move || {
            import(&request, &mut |done, all| {
                // Nobody listens any more where the caller gave up.
                let _ = tell.send((done, all));
            })
        });
        let imported = loop {
            tokio::select! {
                imported = &mut importing => break imported,
                Ok(()) = told.changed() => {
                    let (done, all) = *told.borrow_and_update();
                    progress(done, all);
                }
            }
        };
        let imported = imported.map_err(|error| {
            StepError::transient("the import ended in a panic").because(error)
        })??;
        Ok(Imported {
            generation: image.generation,
            digest: ImageDigest(imported.digest),
            rootfs: Quantity::from_bytes(imported.rootfs_size),
        })
    }

    fn import_request(&self, image: &ImageIntent) -> Result<ImportRequest, StepError> {
        let spec = &image.spec;
        let disk = spec.rootfs.disk.as_ref().ok_or_else(|| {
            StepError::lasting(
                format!("image `{}` has no spec.rootfs.disk", image.name()),
                "write spec.rootfs.disk: the other sources are not supported yet",
            )
        })?;
        Ok(ImportRequest {
            disk: source(disk),
            kernel: spec.kernel.as_ref().map(source),
            modules: spec
                .modules
                .as_ref()
                .map(|source| source.path.clone().into()),
            initrd: spec.initrd.as_ref().map(source),
            agent: self.install.agent.clone(),
            images: self.layout.images(),
            keep_free: self.keep_free(),
        })
    }

    /// Removes an image; one that isn't there is no error.
    pub(super) async fn remove_image(&self, digest: &ImageDigest) -> Result<(), StepError> {
        if !Layout::is_digest(digest) {
            return Err(StepError::lasting(
                format!("`{}` is not an image digest", digest.0),
                "report this as a bug of banger",
            ));
        }
        let (images, digest) = (self.layout.images(), digest.0.clone());
        failure::blocking(move || Ok(remove(&images, &digest)?)).await
    }
}

fn source(file: &FileSource) -> SourceFile {
    SourceFile {
        path: file.path.clone().into(),
        sha256: file.sha256.clone(),
    }
}
