//! The owner's files that guests are given (`spec.fileSync`).
//!
//! ```text
//! ~/x -> opened, with the owner's rights -> where it really is -> may it go? -> bytes
//! ```
//!
//! A document may come from anywhere, and a guest's root may read what the guest
//! is given. So what was opened is judged, not the name: what lies outside the
//! home, be it by a link, goes nowhere; nor do banger's own keys, which open every
//! guest; and `~/.ssh` only where the owner's config.toml says so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use banger_agent_protocol::GuestFile;
use banger_core::api::bounds::MAX_FILES_BYTES;
use banger_core::api::virtual_machine::FileSync;
use rustix::fs::OFlags;

/// Below the home directory, what no guest is given.
const OWN: &str = ".local/state/banger";
const SSH: &str = ".ssh";

/// Why a file can't go.
#[derive(Debug, thiserror::Error)]
#[error("fileSync: {source_path} {why}")]
pub struct FileError {
    source_path: String,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("can't be read: {0}")]
    Unreadable(io::Error),
    #[error("is no regular file")]
    NoFile,
    #[error("leads to {}, outside the home directory", .0.display())]
    Outside(PathBuf),
    #[error("is in ~/.ssh")]
    Ssh,
    #[error("is one of banger's own files")]
    Own,
    #[error("makes the files of this VM longer than {MAX_FILES_BYTES} bytes together")]
    TooLong,
}

impl FileError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match &self.why {
            Why::Unreadable(_) | Why::NoFile => {
                "put a file there that you may read, or take it out of `fileSync`".into()
            }
            Why::Outside(_) | Why::Own => {
                "copy what the guest needs into a file of your home, and name that".into()
            }
            Why::Ssh => "write `[fileSync]` and `allowSsh = true` into config.toml and restart \
                         bangerd, if the guest's root may have it"
                .into(),
            Why::TooLong => "put large files into the image, or copy them with scp".into(),
        }
    }
}

/// The files of one owner.
#[derive(Clone, Debug)]
pub struct OwnFiles {
    /// The home directory.
    pub home: PathBuf,
    /// Whether those in `~/.ssh` may go.
    pub allow_ssh: bool,
}

impl OwnFiles {
    /// Those that a spec names, as they are now.
    ///
    /// # Errors
    /// The first that can't go; then none does.
    pub fn read(&self, wanted: &[FileSync]) -> Result<Vec<GuestFile>, FileError> {
        let mut room = MAX_FILES_BYTES;
        let one = |file: &FileSync| {
            let of = |why| FileError {
                source_path: file.source.clone(),
                why,
            };
            room = room.checked_sub(file.path.len()).ok_or(of(Why::TooLong))?;
            let (content, mode) = self
                .open(&file.source)
                .and_then(|it| take(it, room))
                .map_err(of)?;
            room -= content.len();
            Ok(GuestFile::new(&file.path, &content, mode))
        };
        wanted.iter().map(one).collect()
    }

    fn open(&self, source: &str) -> Result<File, Why> {
        let below = source.strip_prefix("~/").unwrap_or(source);
        let file = OpenOptions::new()
            .read(true)
            // A FIFO or a device that somebody put there keeps nobody waiting.
            .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
            .open(self.home.join(below))
            .map_err(Why::Unreadable)?;
        if !file.metadata().map_err(Why::Unreadable)?.is_file() {
            return Err(Why::NoFile);
        }
        // proc(5), /proc/pid/fd: where it is, with every link followed.
        let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .map_err(Why::Unreadable)?;
        self.judge(&real).map(|()| file)
    }

    fn judge(&self, real: &Path) -> Result<(), Why> {
        let home = fs::canonicalize(&self.home).map_err(Why::Unreadable)?;
        let is_in = |directory: &str| {
            let named = home.join(directory);
            // Either may be a link itself.
            let meant = fs::canonicalize(&named);
            real.starts_with(&named) || meant.is_ok_and(|meant| real.starts_with(meant))
        };
        if is_in(OWN) {
            Err(Why::Own)
        } else if is_in(SSH) && !self.allow_ssh {
            Err(Why::Ssh)
        } else if real.starts_with(&home) {
            Ok(())
        } else {
            Err(Why::Outside(real.to_owned()))
        }
    }
}

/// Content and permission bits, no more than `room` bytes.
fn take(file: File, room: usize) -> Result<(Vec<u8>, u32), Why> {
    let mode = file
        .metadata()
        .map_err(Why::Unreadable)?
        .permissions()
        .mode()
        & 0o777;
    let mut content = Vec::new();
    file.take(room as u64 + 1)
        .read_to_end(&mut content)
        .map_err(Why::Unreadable)?;
    match content.len() > room {
        true => Err(Why::TooLong),
        false => Ok((content, mode)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;
    use std::{fs, io};

    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            for directory in ["home/.ssh", "home/.local/state/banger/ssh", "home/dotfiles"] {
                fs::create_dir_all(home.at(directory)).unwrap();
            }
            home
        }

        fn at(&self, below: &str) -> PathBuf {
            self.0.path().join(below)
        }

        fn write(&self, below: &str, content: &[u8]) {
            fs::write(self.at(below), content).unwrap();
        }

        fn files(&self, allow_ssh: bool) -> OwnFiles {
            OwnFiles {
                home: self.at("home"),
                allow_ssh,
            }
        }

        fn why(&self, source: &str) -> String {
            let error = self.files(false).read(&[sync(source)]).unwrap_err();
            assert!(!error.remedy().is_empty());
            error.to_string()
        }
    }

    fn sync(source: &str) -> FileSync {
        FileSync {
            source: source.into(),
            path: "/root/it".into(),
        }
    }

    #[test]
    fn a_file_goes_as_it_is_and_links_within_the_home_are_followed() {
        let home = Home::new();
        home.write("home/dotfiles/gitconfig", b"[user]\n\xff");
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(home.at("home/dotfiles/gitconfig"), mode).unwrap();
        symlink(
            home.at("home/dotfiles/gitconfig"),
            home.at("home/.gitconfig"),
        )
        .unwrap();
        let files = home.files(false).read(&[sync("~/.gitconfig")]).unwrap();
        assert_eq!(files, [GuestFile::new("/root/it", b"[user]\n\xff", 0o640)]);
    }

    #[test]
    fn a_home_that_is_a_link_is_one() {
        let home = Home::new();
        home.write("home/x", b"x");
        symlink(home.at("home"), home.at("link")).unwrap();
        let files = OwnFiles {
            home: home.at("link"),
            allow_ssh: false,
        };
        assert_eq!(files.read(&[sync("~/x")]).unwrap().len(), 1);
    }

    #[test]
    fn what_lies_outside_goes_nowhere() {
        let home = Home::new();
        home.write("secret", b"x");
        symlink("../secret", home.at("home/file")).unwrap();
        symlink("..", home.at("home/up")).unwrap();
        for source in ["~/file", "~/up/secret", "~/../secret"] {
            let why = home.why(source);
            assert!(
                why.ends_with("/secret, outside the home directory"),
                "{why}"
            );
        }
    }

    #[test]
    fn keys_stay_with_their_owner() {
        let home = Home::new();
        home.write("home/.ssh/id", b"x");
        home.write("home/.local/state/banger/ssh/id_ed25519", b"x");
        symlink(".ssh/id", home.at("home/harmless")).unwrap();
        symlink(".local/state/banger", home.at("home/b")).unwrap();
        for source in ["~/.ssh/id", "~/harmless"] {
            assert!(home.why(source).ends_with("is in ~/.ssh"));
            assert!(home.files(true).read(&[sync(source)]).is_ok());
        }
        for source in ["~/.local/state/banger/ssh/id_ed25519", "~/b/ssh/id_ed25519"] {
            assert!(home.why(source).ends_with("banger's own files"));
            assert!(home.files(true).read(&[sync(source)]).is_err());
        }
        // ~/.ssh itself kept among dotfiles.
        fs::rename(home.at("home/.ssh"), home.at("home/dotfiles/ssh")).unwrap();
        symlink("dotfiles/ssh", home.at("home/.ssh")).unwrap();
        for source in ["~/.ssh/id", "~/dotfiles/ssh/id"] {
            assert!(home.why(source).ends_with("is in ~/.ssh"));
        }
    }

    #[test]
    fn what_is_no_file_keeps_nobody_waiting() {
        let home = Home::new();
        let fifo = home.at("home/fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for source in ["~/fifo", "~/dotfiles"] {
            assert!(home.why(source).ends_with("is no regular file"));
        }
        let missing = io::Error::from_raw_os_error(2);
        assert!(home.why("~/none").ends_with(&missing.to_string()));
        symlink("loop", home.at("home/loop")).unwrap();
        assert!(home.why("~/loop").contains("can't be read"));
    }

    #[test]
    fn all_of_them_fit_into_one_message() {
        let home = Home::new();
        let most = MAX_FILES_BYTES - 2 * "/root/it".len();
        home.write("home/one", &vec![1; most - 1]);
        home.write("home/two", b"2");
        let both = [sync("~/one"), sync("~/two")];
        let files = home.files(false).read(&both).unwrap();
        let message = banger_agent_protocol::AgentRequest::SetFiles { files };
        let length = serde_json::to_vec(&message).unwrap().len();
        assert!(length < banger_agent_protocol::MAX_FRAME / 2, "{length}");
        home.write("home/two", b"22");
        let error = home.files(false).read(&both).unwrap_err();
        assert!(
            error.to_string().contains("~/two makes the files"),
            "{error}"
        );
        assert!(Path::new("/proc/self/fd").exists());
    }
}
