//! `modules.dep` and `modules.builtin`, as depmod(8) and the build write them.

use std::collections::{BTreeSet, HashMap};

/// What a modules directory holds.
#[derive(Debug, Default)]
pub(super) struct Index {
    modules: HashMap<String, Entry>,
    builtin: BTreeSet<String>,
}

#[derive(Debug)]
struct Entry {
    path: String,
    /// Direct and indirect, the first to be loaded last (modules.dep(5)).
    needs: Vec<String>,
}

impl Index {
    pub(super) fn parse(dep: &str, builtin: &str) -> Self {
        let modules = dep
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(path, needs)| {
                let entry = Entry {
                    path: path.trim().to_owned(),
                    needs: needs.split_whitespace().map(str::to_owned).collect(),
                };
                (name_of(path.trim()), entry)
            })
            .collect();
        let builtin = builtin.lines().map(str::trim).map(name_of).collect();
        Self { modules, builtin }
    }

    /// Paths of a module and everything that it needs, in loading order;
    /// empty where it is built in, `None` where it is unknown.
    pub(super) fn load_order(&self, name: &str) -> Option<Vec<&str>> {
        if let Some(entry) = self.modules.get(name) {
            let needs = entry.needs.iter().rev().map(String::as_str);
            return Some(needs.chain([entry.path.as_str()]).collect());
        }
        self.builtin.contains(name).then(Vec::new)
    }
}

/// `kernel/net/vmw_vsock/vmw-vsock.ko.xz` is the module `vmw_vsock`: a dash is
/// an underscore to the kernel.
pub(super) fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split_once(".ko").map_or(file, |(name, _)| name);
    name.replace('-', "_")
}
