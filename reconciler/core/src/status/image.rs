//! An image as `get -o yaml` prints it.

use super::conditions::Conditions;
use super::{View, disk};
use crate::api::status::{
    ConditionStatus, ConditionType, Object, ObjectMeta, ObjectSpec, ObjectStatus, Phase,
};
use crate::api::{API_VERSION, Kind};
use crate::intent::ImageIntent;

pub(super) fn object(view: &View<'_>, image: &ImageIntent) -> Object {
    let (phase, message) = phase(view, image);
    let mut conditions = Conditions::new(view, image.uid, image.generation);
    conditions.set_source(Kind::Image, image.name());
    let status = if phase == Phase::Ready {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    let no_room = disk::waits(view, image.uid).filter(|_| phase != Phase::Importing);
    let reason = match no_room {
        Some(_) if phase == Phase::Pending => "DiskPressure".to_owned(),
        _ => format!("{phase:?}"),
    };
    conditions.set(ConditionType::Ready, status, &reason, message);
    if let Some(words) = no_room {
        let kind = ConditionType::DiskPressure;
        conditions.set(kind, ConditionStatus::True, disk::REASON, words);
    }
    Object {
        api_version: API_VERSION.into(),
        kind: Kind::Image,
        metadata: ObjectMeta {
            name: image.name().clone(),
            uid: image.uid,
            generation: image.generation,
            labels: image.metadata.labels.clone(),
            annotations: image.metadata.annotations.clone(),
            creation_timestamp: image.created,
            deletion_timestamp: image.deletion.as_ref().map(|deletion| deletion.timestamp),
            source: view.admission.sources.get(&image.uid).cloned(),
        },
        spec: ObjectSpec::Image(Box::new(image.spec.clone())),
        status: ObjectStatus {
            phase,
            observed_generation: image.generation,
            conditions: conditions.done(),
            runtime: None,
            handles: None,
            image_digest: image
                .imported
                .as_ref()
                .map(|imported| format!("sha256:{}", imported.digest.0)),
            progress: view.activity.import_progress.get(&image.uid).copied(),
        },
    }
}

fn phase(view: &View<'_>, image: &ImageIntent) -> (Phase, String) {
    let error = view
        .activity
        .last_error
        .get(&image.uid)
        .map(|(message, remedy)| match remedy {
            Some(remedy) => format!("{message} ({remedy})"),
            None => message.clone(),
        });
    if image.deletion.is_some() {
        return (Phase::Deleting, String::new());
    }
    if view.activity.import_progress.contains_key(&image.uid) {
        return (Phase::Importing, String::new());
    }
    match (&image.imported, error) {
        (Some(imported), _) if imported.generation == image.generation => {
            (Phase::Ready, String::new())
        }
        (_, error) => match (disk::waits(view, image.uid), error) {
            (Some(words), _) => (Phase::Pending, words),
            (None, Some(error)) => (Phase::Failed, error),
            (None, None) => (Phase::Pending, "not imported yet".into()),
        },
    }
}
