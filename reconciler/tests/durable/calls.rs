//! What a trace says that was done to files, in order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// One call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Which thread made it.
    pub(crate) thread: u32,
    /// The lines of the trace at which it began and was over.
    pub(crate) began: usize,
    pub(crate) over: usize,
    pub(crate) does: Does,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Something of what is in the file changes.
    Write(PathBuf),
    /// A file is opened, and made where it isn't there.
    Open(PathBuf),
    /// What is in it is on the disk: a file's bytes, a directory's names.
    Sync(PathBuf),
    /// A file or directory is there under another name.
    Place { from: PathBuf, to: PathBuf },
    /// A directory is made.
    Make(PathBuf),
    /// A name goes.
    Remove(PathBuf),
}

/// The calls of a trace that `strace -f -y -s 0 -o FILE` wrote.
pub(crate) fn parse(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<u32, (usize, &str)> = HashMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.trim_start().split_once(' ') else {
            continue;
        };
        let (Ok(thread), text) = (thread.parse(), text.trim_start()) else {
            continue;
        };
        if let Some(head) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (line, head));
            continue;
        }
        // `<... fsync resumed>) = 0`: the rest of what another line began.
        let resumed = text.strip_prefix("<... ");
        let tail = resumed.and_then(|text| text.split_once(" resumed>"));
        let (began, whole) = match tail {
            Some((_, tail)) => match unfinished.remove(&thread) {
                Some((began, head)) => (began, format!("{}{tail}", head.trim_end())),
                None => continue,
            },
            None => (line, text.to_owned()),
        };
        if let Some(does) = does(&whole) {
            calls.push(Call {
                thread,
                began,
                over: line,
                does,
            });
        }
    }
    calls
}

/// `name(arguments) = result`; `None` where it failed, or changes nothing.
fn does(call: &str) -> Option<Does> {
    let (call, result) = call.rsplit_once(" = ")?;
    if result.starts_with(['-', '?']) {
        return None;
    }
    let (name, arguments) = call.trim_end().strip_suffix(')')?.split_once('(')?;
    let mut paths = paths(arguments).into_iter();
    let mut path = || paths.next();
    Some(match name {
        "open" | "openat" | "creat" => {
            let opened = PathBuf::from(descriptors(result).next()?);
            let creates = name == "creat" || arguments.contains("O_CREAT");
            // What is opened so is empty then, whatever there was.
            let empties = ["O_TRUNC", "O_EXCL"]
                .iter()
                .any(|it| arguments.contains(it));
            match (creates, empties || name == "creat") {
                (_, true) => Does::Write(opened),
                (true, false) => Does::Open(opened),
                (false, false) => return None,
            }
        }
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "ftruncate" | "fallocate"
        | "sendfile" => Does::Write(descriptors(arguments).next()?.into()),
        "copy_file_range" => Does::Write(descriptors(arguments).nth(1)?.into()),
        "fsync" | "fdatasync" => Does::Sync(descriptors(arguments).next()?.into()),
        "rename" | "renameat" | "renameat2" | "link" | "linkat" => Does::Place {
            from: path()?,
            to: path()?,
        },
        "mkdir" | "mkdirat" => Does::Make(path()?),
        "unlink" | "unlinkat" | "rmdir" => Does::Remove(path()?),
        _ => return None,
    })
}

/// The paths of descriptors: `3</srv/file>`.
fn descriptors(text: &str) -> impl Iterator<Item = &str> {
    text.split('<')
        .skip(1)
        .filter_map(|text| Some(text.split_once('>')?.0))
}

/// The paths that stand as text, each below the directory whose descriptor stands
/// before it.
fn paths(arguments: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = arguments;
    while let Some((before, after)) = rest.split_once('"') {
        let Some((path, tail)) = after.split_once('"') else {
            break;
        };
        let directory = descriptors(before).last().unwrap_or("/");
        found.push(Path::new(directory).join(path));
        rest = tail;
    }
    found
}

#[test]
fn calls_are_read_as_strace_writes_them() {
    let trace = r#"
7 openat(AT_FDCWD</r>, "/r/.new", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 3</r/.new>
7 openat(AT_FDCWD</r>, "/r/db", O_RDWR|O_CREAT, 0644) = 5</r/db>
7 openat(AT_FDCWD</r>, "/r/read", O_RDONLY) = 5</r/read>
7     write(3</r/.new>, ""..., 118)           = 118
8 fsync(3</r/.new> <unfinished ...>
7 mkdir("/r/there", 0777)                 = -1 EEXIST (File exists)
8 <... fsync resumed>)                    = 0
7 copy_file_range(4</r/read>, NULL, 3</r/.new>, NULL, 10, 0) = 10
7 renameat2(AT_FDCWD</r>, "/r/.new", 6</r/d>, "new", RENAME_NOREPLACE) = 0
7 unlinkat(6</r/d>, "old", 0)             = 0
7 mkdir("/r/made", 0700)                  = 0
7 +++ exited with 0 +++
"#;
    let is = |path: &str| PathBuf::from(path);
    let found = parse(trace);
    let does: Vec<_> = found.iter().map(|call| call.does.clone()).collect();
    assert_eq!(
        does,
        [
            Does::Write(is("/r/.new")),
            Does::Open(is("/r/db")),
            Does::Write(is("/r/.new")),
            Does::Sync(is("/r/.new")),
            Does::Write(is("/r/.new")),
            Does::Place {
                from: is("/r/.new"),
                to: is("/r/d/new"),
            },
            Does::Remove(is("/r/d/old")),
            Does::Make(is("/r/made")),
        ]
    );
    let sync = &found[3];
    assert_eq!((sync.thread, sync.began, sync.over), (8, 5, 7));
}
