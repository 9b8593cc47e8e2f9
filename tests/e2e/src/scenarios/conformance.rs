//! The suite of every host, on the disposable one's kernel.

use anyhow::Result;

use crate::lab::{Lab, QUICK};

pub(super) fn real_kernel(lab: &mut Lab) -> Result<()> {
    lab.declare_image(QUICK)?;
    lab.image_ready(QUICK)?;
    let image = lab.owner(
        "banger get image quick -o json | jq -er '.status.imageDigest | ltrimstr(\"sha256:\")'",
    )?;
    let before = lab.inventory()?;
    // Nobody else may act; what runs runs on.
    lab.root("systemctl stop bangerd.socket bangerd.service")?;
    let tried = lab.owner(&format!("/payload/conformance --image {}", image.trim()));
    lab.root("systemctl start bangerd.socket bangerd.service")?;
    println!("{}", tried?.trim_end());
    let after = lab.inventory()?;
    anyhow::ensure!(after == before, "before: {before:?}\nafter: {after:?}");
    Ok(())
}
