//! A lab that is made once and then gone on with as often as a test wants one:
//! banger installed among decoys, both images imported, two VMs Ready.
//!
//! Making it takes two minutes under software emulation, going on with it three
//! seconds.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    Artifacts, Cache, Lab, Options, Stages, TestHost, accel,
    attempt::attempt,
    digest::Digest,
    lab::{DEBIAN, QUICK},
};

/// What makes a lab, but for the payload and the host itself.
const RECIPE: [&str; 4] = [
    include_str!("qemu.rs"),
    include_str!("saved.rs"),
    include_str!("lab.rs"),
    include_str!("decoys.rs"),
];

/// The VMs of a saved lab, over the quick image, with nothing but the defaults.
const VMS: [&str; 2] = ["web", "worker"];

/// The file that says how it looked.
const STATE: &str = "state.txt";

/// A saved lab in the cache.
#[derive(Debug)]
pub struct SavedLab {
    entry: PathBuf,
    /// How it looked when it was saved; see [`Lab::state`].
    pub state: String,
}

impl SavedLab {
    /// The lab of this payload, made unless the cache has it.
    ///
    /// # Errors
    /// The host doesn't come up, or banger doesn't do its work in it.
    pub fn of(payload: &Path) -> Result<Self> {
        let stages = Stages::default();
        let cache = Cache::open()?;
        let artifacts = Artifacts::build(&cache, stages)?;
        let accel = accel::choose(&cache, &artifacts.kernel, &artifacts.initrd)?.accel;
        let mut parts = vec![
            ("accel", accel.to_string().into_bytes()),
            ("host", artifacts.disk.to_string_lossy().into_owned().into()),
            (
                "images",
                artifacts.images.to_string_lossy().into_owned().into(),
            ),
        ];
        parts.extend(RECIPE.map(|text| ("recipe", text.into())));
        for file in files(payload)? {
            let content = Digest::of_file(&file).context("cannot read the payload")?;
            parts.push((
                "file",
                file.file_name()
                    .unwrap_or_default()
                    .as_encoded_bytes()
                    .into(),
            ));
            parts.push(("content", content.full().into()));
        }
        let key = Digest::of_parts(parts.iter().map(|(name, part)| (*name, part.as_slice())));

        if !cache.entry("lab", &key).exists() {
            let options = Options {
                payload: Some(payload.to_path_buf()),
                // Tests run two hosts at a time, and two virtual processors of one
                // host wait for each other more than they get done.
                cpus: 1,
                savable: true,
                // Whether a host is up in a minute is for its own tests to say.
                boot_limit: Duration::from_secs(300),
                ..Options::default()
            };
            let fresh = || Lab::among_decoys("saved", options.clone());
            let filled = |lab: &mut Lab| fill(lab, stages).and_then(|()| lab.state());
            let (state, lab) = attempt("the lab", None, &fresh, &filled)?;
            let state = state?;
            stages.run("save the lab", || {
                // QEMU can't load the state of a processor that was in a guest.
                lab.root("pkill -STOP -x firecracker")?;
                let _lock = cache.lock()?;
                cache.make_entry("lab", &key, |entry| {
                    fs::write(entry.join(STATE), &state).context("cannot write the state")?;
                    lab.host.save(entry)
                })
            })?;
        }
        let entry = cache.entry("lab", &key);
        // Each is a gigabyte, and of no use once the payload is another one.
        cache.remove_others("lab", &entry);
        let state = fs::read_to_string(entry.join(STATE)).context("cannot read the state")?;
        Ok(Self { entry, state })
    }

    /// The lab as it was saved, on a host of this name.
    ///
    /// # Errors
    /// QEMU can't go on with it.
    pub fn resume(&self, name: &str, options: Options) -> Result<Lab> {
        let lab = Lab {
            host: TestHost::resume(&self.entry, name, options)?,
        };
        lab.root("pkill -CONT -x firecracker")?;
        Ok(lab)
    }
}

/// Images, and VMs that are Ready.
fn fill(lab: &Lab, stages: Stages) -> Result<()> {
    stages.run("import the images", || {
        for image in [QUICK, DEBIAN] {
            lab.declare_image(image)?;
            lab.image_ready(image)?;
        }
        Ok(())
    })?;
    stages.run("boot two VMs", || {
        for name in VMS {
            lab.write_vm(&format!("{name}.yaml"), &Lab::document(name, ""))?;
        }
        VMS.iter().try_for_each(|name| lab.ready(name))
    })
}

/// All files of a directory, sorted.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).context("cannot read the payload")? {
        let path = entry.context("cannot read the payload")?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
