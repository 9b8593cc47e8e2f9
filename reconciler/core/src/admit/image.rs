//! Admission of an image.

use banger_protocol::VmUid;
use jiff::Timestamp;

use super::Admission;
use crate::intent::{Backoff, ImageIntent};
use crate::problem::Problem;
use crate::validate::{Body, Validated};

pub(super) fn admit(
    document: &Validated,
    admission: &mut Admission,
    mint: &mut dyn FnMut() -> VmUid,
    now: Timestamp,
) {
    let Body::Image(spec) = &document.body else {
        return;
    };
    let name = &document.metadata.name;
    let existing = admission
        .intents
        .images
        .values_mut()
        .find(|image| image.name() == name);
    let uid = match existing {
        Some(image) => {
            if image
                .deletion
                .as_ref()
                .is_some_and(|deletion| deletion.explicit)
            {
                let uid = image.uid;
                admission.sources.insert(uid, document.file.clone());
                admission.await_predecessor(Problem {
                    message: format!("the previous image `{name}` is still being deleted"),
                    remedy: Some("wait: it is taken up as soon as that is done".into()),
                    ..document.problem("metadata.name")
                });
                return;
            }
            image.deletion = None;
            image.metadata = document.metadata.clone();
            if image.spec != *spec {
                image.spec = spec.clone();
                image.generation += 1;
                image.error = Backoff::default();
            }
            image.uid
        }
        None => {
            let uid = mint();
            let image = ImageIntent {
                uid,
                metadata: document.metadata.clone(),
                generation: 1,
                spec: spec.clone(),
                imported: None,
                deletion: None,
                error: Backoff::default(),
                created: now,
            };
            admission.intents.images.insert(uid, image);
            uid
        }
    };
    admission.sources.insert(uid, document.file.clone());
}
