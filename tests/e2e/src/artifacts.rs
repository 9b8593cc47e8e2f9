//! What is built once and then cached: the host's disk and boot files, the
//! guest image, Firecracker, and the read-only drive that carries the last two
//! into the host at `/images`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    cache::Cache,
    digest::Digest,
    ext4::{self, Layout},
    firecracker, initrd,
    privilege::as_root,
    recipe::{GUEST, HOST, Recipe, SUITE},
    run::run,
    shell::quote,
    stages::Stages,
};

/// The host's root disk: sparse, about 0.5 GB of it used when fresh.
const HOST_DISK: u64 = 12 << 30;
/// The guest images, as the host has them below `/images`.
const GUEST_IMAGE: &str = "debian-12.ext4";
const QUICK_IMAGE: &str = "quick.ext4";
/// How much of Debian is installed without being named.
pub(crate) const VARIANT: &str = "--variant=minbase";
/// What the guest image has beyond its content.
const GUEST_SLACK: u64 = 96 << 20;

/// Paths of everything that is built once. They exist.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// The pristine root disk of the host (ext4, no partitions).
    pub disk: PathBuf,
    /// The host's kernel.
    pub kernel: PathBuf,
    /// The host's boot initrd.
    pub initrd: PathBuf,
    /// The Debian guest image (ext4, no partitions).
    pub guest: PathBuf,
    /// The drive that the host mounts at `/images`.
    pub images: PathBuf,
}

impl Artifacts {
    /// Builds what the cache doesn't hold yet.
    ///
    /// # Errors
    /// A step fails; what was complete before stays cached.
    pub fn build(cache: &Cache, stages: Stages) -> Result<Self> {
        let lock = cache.lock()?;
        cache.remove_unfinished(&lock)?;
        let host = build_host(cache, stages)?;
        let guest = build_guest(cache, stages)?;
        let firecracker = firecracker::fetch(cache, stages)?;
        let images = build_images(cache, stages, &guest, &firecracker)?;
        Ok(Self {
            disk: host.join("disk.ext4"),
            kernel: host.join("vmlinuz"),
            initrd: host.join("initrd"),
            guest: guest.join(GUEST_IMAGE),
            images: images.join("images.ext4"),
        })
    }
}

fn build_host(cache: &Cache, stages: Stages) -> Result<PathBuf> {
    cache.make_entry(HOST.noun, &HOST.key(), |entry| {
        let root = stages.run("install the host's Debian packages", || {
            bootstrap(&HOST, entry)
        })?;
        stages.run("make the host's disk", || {
            let boot = root.join("boot");
            let kernel = file_starting_with(&boot, "vmlinuz-")?;
            let version = kernel.strip_prefix("vmlinuz-").unwrap_or(&kernel);
            let target = entry.join("vmlinuz");
            fs::copy(boot.join(&kernel), &target).context("cannot copy the host's kernel")?;
            let init = HOST.file("init").context("the recipe has no init")?;
            fs::write(entry.join("initrd"), initrd::make(&root, version, init)?)
                .context("cannot write the initrd")?;
            let layout = Layout {
                label: "host",
                length: HOST_DISK,
                journal: true,
            };
            make_from_root(&entry.join("disk.ext4"), &root, layout)
        })?;
        remove_root(&root)
    })
}

fn build_guest(cache: &Cache, stages: Stages) -> Result<PathBuf> {
    cache.make_entry(GUEST.noun, &GUEST.key(), |entry| {
        let root = stages.run("install the guest's Debian packages", || {
            bootstrap(&GUEST, entry)
        })?;
        stages.run("make the guest images", || {
            let used = ext4::used_bytes(as_root("du"), &root)?;
            let layout = |label| Layout {
                label,
                length: (used + used / 8 + GUEST_SLACK).next_multiple_of(16 << 20),
                journal: true,
            };
            make_from_root(&entry.join(GUEST_IMAGE), &root, layout("debian-12"))?;
            let quick = GUEST
                .file("quick.sh")
                .context("the recipe has no quick.sh")?;
            run(as_root("sh").args(["-c", quick, "quick.sh"]).arg(&root))
                .context("cannot make the quick guest")?;
            make_from_root(&entry.join(QUICK_IMAGE), &root, layout("quick"))
        })?;
        remove_root(&root)
    })
}

/// Packs the guest image and Firecracker into one drive.
fn build_images(
    cache: &Cache,
    stages: Stages,
    guest: &Path,
    firecracker: &Path,
) -> Result<PathBuf> {
    let names = [guest, firecracker].map(|path| path.to_string_lossy().into_owned());
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let names = names.map(|name| last(&name));
    let key = Digest::of_parts(names.iter().map(|name| ("entry", name.as_bytes())));
    cache.make_entry("images", &key, |entry| {
        stages.run("pack the images drive", || {
            let tree = entry.join("tree");
            fs::create_dir(&tree).context("cannot make a directory")?;
            for file in [
                guest.join(GUEST_IMAGE),
                guest.join(QUICK_IMAGE),
                firecracker.join("firecracker"),
                firecracker.join("jailer"),
            ] {
                run(Command::new("cp")
                    .args(["--sparse=always", "--reflink=auto"])
                    .args([&file, &tree]))?;
            }
            pack(&tree, &entry.join("images.ext4"), "images")?;
            fs::remove_dir_all(&tree).context("cannot remove the packed tree")
        })
    })
}

/// Makes a read-only drive that holds a directory's content.
///
/// # Errors
/// The directory can't be read, or mkfs.ext4 fails.
pub(crate) fn pack(directory: &Path, drive: &Path, label: &str) -> Result<()> {
    let used = ext4::used_bytes(Command::new("du"), directory)?;
    let layout = Layout {
        label,
        length: (used + used / 16 + (16 << 20)).next_multiple_of(1 << 20),
        journal: false,
    };
    ext4::make(Command::new(ext4::MKFS), drive, directory, layout)
}

/// Installs the recipe's packages beneath `entry/root` and sets it up.
fn bootstrap(recipe: &Recipe, entry: &Path) -> Result<PathBuf> {
    let scripts = entry.join("recipe");
    recipe.write_to(&scripts)?;
    let root = entry.join("root");
    let mut command = as_root("mmdebstrap");
    command
        .args(["--quiet", VARIANT, "--format=directory"])
        .arg(format!("--include={}", recipe.packages().join(",")));
    for tree in ["man", "doc", "locale"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{tree}/*"));
    }
    for (hook, script) in [("essential", "essential.sh"), ("customize", "setup.sh")] {
        if recipe.file(script).is_some() {
            let path = scripts.join(script);
            let path = path.to_str().context("the cache's path is not UTF-8")?;
            command.arg(format!("--{hook}-hook={} \"$1\"", quote(path)));
        }
    }
    run(command.arg(SUITE).arg(&root))
        .with_context(|| format!("cannot install the {}'s packages", recipe.noun))?;
    fs::remove_dir_all(&scripts).context("cannot remove the recipe's scripts")?;
    Ok(root)
}

/// mkfs as root, for the tree is root's; the file then is ours.
fn make_from_root(file: &Path, root: &Path, layout: Layout<'_>) -> Result<()> {
    ext4::make(as_root(ext4::MKFS), file, root, layout)
}

fn remove_root(root: &Path) -> Result<()> {
    run(as_root("rm").args(["-rf", "--one-file-system"]).arg(root))?;
    Ok(())
}

fn file_starting_with(directory: &Path, prefix: &str) -> Result<String> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find(|name| name.starts_with(prefix))
        .with_context(|| format!("no {prefix}* in {}", directory.display()))
}
