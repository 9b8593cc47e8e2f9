//! Files that can't be specs: refused by name, place and remedy, and nothing
//! that runs is touched. What each mistake is told is the corpus's, all of it
//! through the loop `controller/tests/bad_files.rs`'s; this is the real host.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

const SOON: Duration = Duration::from_secs(60);

/// Lines that make files beside good ones, and what is said of each: its place,
/// where it has one, and what to do.
const BESIDE: &[(&str, &[&str])] = &[
    (
        "printf 'kind: [VirtualMachine\\n' > syntax.yaml",
        &["syntax.yaml:1:7: ", "close every `[`"],
    ),
    (
        ": > empty.yaml",
        &[
            "empty.yaml: the file holds no document",
            "delete the file if",
        ],
    ),
    (
        "mkfifo fifo.yaml",
        &["fifo.yaml: this is a FIFO", "rename or remove it"],
    ),
    (
        "ln -s loop.yaml loop.yaml",
        &[
            "loop.yaml: this symbolic link leads back to itself",
            "remove the link",
        ],
    ),
    (
        "mkdir folder.yaml",
        &["folder.yaml: this is a directory", "rename or remove it"],
    ),
    (
        "truncate -s 100M large.yaml",
        &[
            "large.yaml: the file is longer than 1 MiB",
            "split it into several files",
        ],
    ),
    (
        "printf 'a: \\377\\376\\n' > binary.yaml",
        &["binary.yaml:1:4: ", "save it as UTF-8"],
    ),
    (
        "head -c 20000 /dev/zero | tr '\\0' '[' > nested.yaml",
        &["nested.yaml:1:33: ", "write it out plainly"],
    ),
    (
        "{ echo 'a: &a [x,x,x,x,x,x,x,x,x]'; for of in ab bc cd de ef; do \
           from=${of%?}; to=${of#?}; many=$(printf \"*$from,%.0s\" 1 2 3 4 5 6 7 8 9); \
           echo \"$to: &$to [$many]\"; done; } > bomb.yaml",
        &["bomb.yaml:4:11: ", "stand for too many values"],
    ),
    (
        "sed 's/{name: web}/{name: orphan}/; s/image: .*/image: nowhere/' web.yaml > orphan.yaml",
        &[
            "orphan.yaml:5:10: ",
            "no file declares an image `nowhere`",
            "declare `kind: Image`",
        ],
    ),
    (
        "sed 's/{name: web}/{name: clash}/' web.yaml > clash.yaml",
        &[
            "clash.yaml:8:13: ",
            "is already published by VM `web`",
            "choose another host port",
        ],
    ),
];

/// Lines that spoil `web.yaml` itself, and what `Accepted` says then.
const ITSELF: &[(&str, &[&str])] = &[
    (
        "echo '  vcpu: 2' >> web.yaml",
        &["web.yaml:10:3: ", "did you mean `vcpus`?"],
    ),
    (
        "echo '  memory: 512Mi' >> web.yaml",
        &["web.yaml:10:3: ", "keep one of the two"],
    ),
    (
        "sed -i 's/memory: .*/memory: 256MB/' web.yaml",
        &["web.yaml:6:11: ", "write for example `memory: 512Mi`"],
    ),
    (
        "sed -i 's/host: 8022/host: 80/' web.yaml",
        &["web.yaml:8:", "write a port from 1024 to 65535"],
    ),
    (
        "echo 'x: [' >> web.yaml",
        &["web.yaml:10:4: ", "close every `[`"],
    ),
];

/// Both VMs that run, and which processes they are.
struct Running([u32; 2]);

impl Running {
    const NAMES: [&'static str; 2] = ["web", "worker"];

    fn now(lab: &Lab) -> Result<Self> {
        Ok(Self([lab.pid("web")?, lab.pid("worker")?]))
    }

    fn are_untouched(&self, lab: &Lab) -> Result<()> {
        for (name, pid) in Self::NAMES.into_iter().zip(self.0) {
            ensure!(lab.pid(name)? == pid, "bad files touched {name}");
            let phase = lab.field(name, ".status.phase")?;
            ensure!(phase == "Ready", "{name} is {phase}");
            let called = lab.guest(name, "hostname")?;
            ensure!(called.trim() == name, "{name}'s guest is gone");
        }
        Ok(())
    }
}

pub(super) fn harm_nothing(lab: &mut Lab) -> Result<()> {
    let good = Lab::document("web", "network: {ports: [{host: 8022, guest: 22}]}");
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let running = Running::now(lab)?;
    lab.write_vm("web.yaml", &good)?;
    lab.ready("web")?;
    let result = beside(lab, &running);
    lab.owner(
        "cd ~/.config/banger && \
         rm -rf vms/{syntax,empty,fifo,loop,folder,large,binary,nested,bomb,orphan,clash}.yaml && \
         { banger delete image gone --yes || rm -f images/gone.yaml; }",
    )?;
    result?;

    // A broken edit of the VM's own file keeps its last good intent.
    for (spoil, words) in ITSELF {
        lab.write_vm("web.yaml", &good)?;
        lab.owner(&format!("cd ~/.config/banger/vms && {spoil}"))?;
        let all: Vec<String> = words
            .iter()
            .map(|words| format!("contains(\"{words}\")"))
            .collect();
        lab.until(
            &format!("Accepted=False after `{spoil}`, with {words:?}"),
            &format!(
                "su owner -c 'banger get vm web -o json' | jq -e '.status.conditions[] | \
                 select(.type == \"Accepted\" and .status == \"False\") | .message | {}' >/dev/null",
                all.join(" and ")
            ),
            SOON,
        )?;
    }
    running.are_untouched(lab)?;
    lab.write_vm("web.yaml", &Lab::document("web", ""))?;
    lab.write_vm("worker.yaml", &Lab::document("worker", ""))?;
    lab.owner("banger wait --for=condition=Accepted vm/web --timeout 60s")?;
    running.are_untouched(lab)
}

fn beside(lab: &Lab, running: &Running) -> Result<()> {
    // An image whose file is gone is wanted, but can't be imported.
    let image = "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: gone}\n\
                 spec:\n  rootfs:\n    disk: {path: /images/gone.ext4}\n";
    lab.write(".config/banger/images/gone.yaml", image)?;
    let lines: Vec<&str> = BESIDE.iter().map(|(line, _)| *line).collect();
    lab.owner(&format!(
        "cd ~/.config/banger/vms && {}",
        lines.join(" && ")
    ))?;
    // A pass that takes what was written after them has read them all.
    lab.owner(
        "cd ~/.config/banger/vms && \
         sed -i 's/{name: worker}/{name: worker, labels: {seen: all}}/' worker.yaml",
    )?;
    lab.until(
        "a pass over all of them",
        "su owner -c 'banger get vm worker -o json' | jq -e '.metadata.labels.seen == \"all\"' >/dev/null",
        SOON,
    )?;
    let seen = lab.ask("banger diff")?;
    let said = format!("{}{}", seen.stdout, seen.stderr);
    for (line, words) in BESIDE {
        for words in *words {
            ensure!(
                said.contains(words),
                "after `{line}` there is no `{words}`:\n{said}"
            );
        }
    }
    lab.until(
        "the image says that its file is gone",
        "su owner -c 'banger get image gone -o json' | jq -e '.status.conditions[] | \
         select(.type == \"Ready\" and .status == \"False\") | .message | \
         contains(\"/images/gone.ext4 does not exist\")' >/dev/null",
        SOON,
    )?;
    let objects = lab.owner("banger get vms -o name")?;
    ensure!(
        !objects.contains("orphan") && !objects.contains("clash"),
        "bad files made VMs:\n{objects}"
    );
    running.are_untouched(lab)
}
