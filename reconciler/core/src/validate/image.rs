//! The spec of an image, and where its files are.

use std::path::{Component, Path, PathBuf};

use super::Context;
use super::findings::Findings;
use crate::api::ImageSpec;
use crate::api::bounds::MAX_PATH;
use crate::api::image::{FileSource, RootfsSource};

/// Checks the spec and makes its paths absolute.
pub(super) fn check(
    spec: &ImageSpec,
    file: &Path,
    ctx: &Context,
    findings: &mut Findings<'_>,
) -> ImageSpec {
    rootfs(&spec.rootfs, findings);
    if spec.work_seed.is_some() {
        findings.refuse(
            "spec.workSeed",
            "`workSeed` is not supported yet",
            "remove it: a work disk then begins as an empty ext4 file system",
        );
    }
    if let Some(modules) = &spec.modules
        && modules.sha256.is_some()
    {
        findings.refuse(
            "spec.modules.sha256",
            "`modules` is a directory, which has no sha256",
            "remove `sha256` here",
        );
    }
    let mut resolve = |field: &str, source: &Option<FileSource>| {
        source
            .as_ref()
            .map(|source| resolve(field, source, file, ctx, findings))
    };
    ImageSpec {
        rootfs: RootfsSource {
            disk: resolve("spec.rootfs.disk", &spec.rootfs.disk),
            ..spec.rootfs.clone()
        },
        kernel: resolve("spec.kernel", &spec.kernel),
        modules: resolve("spec.modules", &spec.modules),
        initrd: resolve("spec.initrd", &spec.initrd),
        work_seed: spec.work_seed.clone(),
    }
}

fn rootfs(rootfs: &RootfsSource, findings: &mut Findings<'_>) {
    let sources = [
        ("disk", rootfs.disk.is_some()),
        ("archive", rootfs.archive.is_some()),
        ("oci", rootfs.oci.is_some()),
        ("build", rootfs.build.is_some()),
    ];
    let set: Vec<&str> = sources
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect();
    match set.as_slice() {
        ["disk"] => {}
        [] => findings.refuse(
            "spec.rootfs",
            "`rootfs` names no source",
            "write for example `rootfs: {disk: {path: ./debian-12.ext4}}`",
        ),
        [other] => findings.refuse(
            &format!("spec.rootfs.{other}"),
            format!("a root file system from `{other}` is not supported yet"),
            "make a raw ext4 image of it (`mke2fs -t ext4 -d DIRECTORY IMAGE SIZE`) and write \
             `disk: {path: …}`",
        ),
        several => findings.refuse(
            "spec.rootfs",
            format!("`rootfs` names several sources: {}", several.join(", ")),
            "keep exactly one of them",
        ),
    }
}

fn resolve(
    field: &str,
    source: &FileSource,
    file: &Path,
    ctx: &Context,
    findings: &mut Findings<'_>,
) -> FileSource {
    if let Some(sha256) = &source.sha256
        && !(sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        findings.refuse(
            &format!("{field}.sha256"),
            format!("`{sha256}` is not a SHA-256: it has 64 hexadecimal digits"),
            "write what `sha256sum FILE` prints, or leave `sha256` out",
        );
    }
    let path = format!("{field}.path");
    match absolute(&source.path, file, ctx) {
        Ok(absolute) => FileSource {
            path: absolute,
            sha256: source.sha256.as_ref().map(|text| text.to_ascii_lowercase()),
        },
        Err((message, remedy)) => {
            findings.refuse(&path, message, remedy);
            source.clone()
        }
    }
}

fn absolute(path: &str, file: &Path, ctx: &Context) -> Result<String, (String, String)> {
    let refuse = |message: &str, remedy: &str| Err((message.to_owned(), remedy.to_owned()));
    if path.trim().is_empty() {
        return refuse("the path is empty", "write the path of a file");
    }
    if path.chars().any(char::is_control) {
        return refuse(
            "the path holds a line break or another control character",
            "write it on one line",
        );
    }
    if path.contains("://") {
        return refuse(
            "a URL is not a path; images are not downloaded",
            "download the file and write its path",
        );
    }
    let full = if path == "~" {
        ctx.home.clone()
    } else if let Some(rest) = path.strip_prefix("~/") {
        ctx.home.join(rest)
    } else if path.starts_with('~') {
        return refuse(
            "`~` stands for your own home directory only",
            "write `~/…` or an absolute path",
        );
    } else if path.starts_with('$') {
        return refuse(
            "variables are not expanded in paths",
            "write `~/…`, an absolute path, or one relative to this file",
        );
    } else {
        file.parent().unwrap_or(Path::new("/")).join(path)
    };
    // `..` stays: what it means depends on symbolic links.
    let clean: PathBuf = full
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    match clean.to_str() {
        Some(text) if text.len() <= MAX_PATH => Ok(text.to_owned()),
        Some(_) => refuse("the path is too long", "write a path of at most 4095 bytes"),
        None => refuse(
            "the path of this file is not UTF-8, so nothing can be relative to it",
            "write an absolute path",
        ),
    }
}
