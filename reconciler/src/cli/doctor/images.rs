//! The image cache, as the daemon knows it.

use banger_core::api::Kind;
use banger_core::api::status::{Object, Phase};

use super::Check;
use crate::cli::context::Context;

const NAME: &str = "images";

pub(super) fn check(context: &Context, answers: bool) -> Check {
    if !answers {
        return Check::skip(NAME, "only the daemon knows, and it doesn't answer");
    }
    match context.daemon.list(Kind::Image, None) {
        Ok(listing) => judge(&listing.objects),
        Err(error) => Check::warn(NAME, error.to_string(), "see `banger get images`"),
    }
}

fn judge(images: &[Object]) -> Check {
    let not_ready: Vec<&str> = images
        .iter()
        .filter(|image| image.status.phase != Phase::Ready)
        .map(|image| image.metadata.name.as_str())
        .collect();
    match not_ready.as_slice() {
        [] => Check::pass(NAME, format!("{} ready", images.len())),
        [first, ..] => Check::warn(
            NAME,
            format!("not ready: {}", not_ready.join(", ")),
            format!("`banger describe image/{first}` says why"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use banger_core::api::status::Object;
    use serde_json::json;

    use super::super::Verdict;
    use super::judge;

    fn image(name: &str, phase: &str) -> Object {
        serde_json::from_value(json!({
            "apiVersion": "banger.dev/v1alpha1", "kind": "Image",
            "metadata": {
                "name": name, "uid": "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z", "source": null,
            },
            "spec": {"rootfs": {"disk": {"path": "/srv/d.ext4"}}},
            "status": {"phase": phase, "observedGeneration": 1, "conditions": []},
        }))
        .expect("an object")
    }

    #[test]
    fn images_that_are_not_ready_are_named() {
        assert_eq!(judge(&[]).verdict, Verdict::Pass);
        assert_eq!(judge(&[image("a", "Ready")]).message, "1 ready");
        let check = judge(&[image("a", "Ready"), image("b", "Failed")]);
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.message.contains('b'));
        assert!(check.remedy.is_some_and(|it| it.contains("image/b")));
    }
}
