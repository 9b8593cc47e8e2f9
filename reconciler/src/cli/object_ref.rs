//! Objects as they are named on the command line: `vm/web`, or a kind and names.

use std::fmt;
use std::str::FromStr;

use banger_core::api::status::Object;
use banger_core::api::{Kind, Name};

/// A kind as people write it: `vm`, `vms`, `virtualmachines`, `image`, `images`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KindArg(pub(super) Kind);

impl FromStr for KindArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "vm" | "vms" | "virtualmachine" | "virtualmachines" => Ok(Self(Kind::VirtualMachine)),
            "image" | "images" => Ok(Self(Kind::Image)),
            _ => Err("banger has the kinds `vm` and `image`".to_owned()),
        }
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectRef {
    /// Its kind.
    pub(super) kind: Kind,
    /// Its name.
    pub(super) name: Name,
}

impl ObjectRef {
    /// The object of this kind and name.
    pub(super) const fn new(kind: Kind, name: Name) -> Self {
        Self { kind, name }
    }

    /// The one that this is.
    pub(super) fn of(object: &Object) -> Self {
        Self::new(object.kind, object.metadata.name.clone())
    }
}

impl FromStr for ObjectRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| format!("write it with its kind: `vm/{text}` or `image/{text}`"))?;
        Ok(Self {
            kind: kind.parse::<KindArg>()?.0,
            name: name.parse().map_err(|bad| format!("{bad}"))?,
        })
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.short(), self.name)
    }
}

/// `KIND NAME…` or `vm/NAME…`, as kubectl takes them.
///
/// # Errors
/// What is wrong with the words.
pub(super) fn references(words: &[String]) -> Result<Vec<ObjectRef>, String> {
    if words.iter().any(|word| word.contains('/')) {
        return words.iter().map(|word| word.parse()).collect();
    }
    let Some((kind, names)) = words.split_first() else {
        return Ok(Vec::new());
    };
    let kind = kind.parse::<KindArg>()?.0;
    if names.is_empty() {
        return Err(format!("which {}? Give its name", kind.short()));
    }
    names
        .iter()
        .map(|name| {
            let name = name.parse().map_err(|bad| format!("{bad}"))?;
            Ok(ObjectRef { kind, name })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::references;

    fn read(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let names: Vec<String> = references(&words)?
            .iter()
            .map(ToString::to_string)
            .collect();
        Ok(names.join(" "))
    }

    #[test]
    fn both_of_kubectls_forms() {
        assert_eq!(read(&["vms", "a", "b"]).unwrap(), "vm/a vm/b");
        assert_eq!(read(&["image/a", "VM/b"]).unwrap(), "image/a vm/b");
        assert_eq!(read(&[]).unwrap(), "");
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(read(&["vm"]).unwrap_err().contains("Give its name"));
        assert!(
            read(&["pod", "a"])
                .unwrap_err()
                .contains("`vm` and `image`")
        );
        assert!(read(&["vm/a", "b"]).unwrap_err().contains("`vm/b`"));
        assert!(read(&["vm/A_b"]).unwrap_err().contains("not a valid name"));
    }
}
