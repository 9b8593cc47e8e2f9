//! Disks and images that somebody else took away, or is about to be robbed of.

use banger_core::diff::DiffEntry;
use banger_core::effect::Effect;
use banger_core::intent::ImageDigest;
use banger_core::plan::Step;
use banger_core::seam::VmRef;
use banger_protocol::Sectors;
use banger_testkit::generate;

use super::*;
use crate::controller::Collect;

async fn up(spec: &str) -> (Daemon, Object) {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", spec)).await;
    let web = daemon.ready("web").await;
    (daemon, web)
}

async fn power(daemon: &Daemon, power: Power) {
    daemon.handle.power(name("web"), power).await.unwrap();
}

fn is_off(now: &Published) -> bool {
    get(now, "web").is_some_and(|web| web.status.phase == Phase::Stopped)
}

fn is_missing(now: &Published) -> bool {
    get(now, "web").is_some_and(|web| {
        let ready = web.status.conditions.iter();
        let mut ready = ready.filter(|it| it.kind == ConditionType::Ready);
        ready.any(|it| it.reason == "DiskMissing")
    })
}

async fn entry(daemon: &Daemon) -> DiffEntry {
    let report = daemon.handle.diff(Vec::new()).await.unwrap();
    let [entry] = report.entries.try_into().unwrap();
    entry
}

#[tokio::test(start_paused = true)]
async fn a_missing_disk_is_told_and_made_anew_on_a_persons_word() {
    for (role, flag) in [
        (DiskRole::Cow, "--replace-root"),
        (DiskRole::Work, "--allow-data-loss"),
    ] {
        let (daemon, web) = up("  workDisk: {size: 1Gi}\n").await;
        power(&daemon, Power::Stop).await;
        daemon.until("off", is_off).await;
        daemon.host.lose_disk(uid(&web), role);
        power(&daemon, Power::Start).await;
        let now = daemon.until("told", is_missing).await;
        let web = get(&now, "web").unwrap();
        assert_eq!(web.status.phase, Phase::Pending);
        let (_, message) = condition(&web, ConditionType::Ready).unwrap();
        let file = match role {
            DiskRole::Work => "work.ext4",
            _ => "root.cow",
        };
        let path = format!("state/vms/{}/{file}", uid(&web));
        assert!(
            message.contains(&path) && message.contains(flag),
            "{message}"
        );

        // As `banger diff` shows it, and for as long as nobody says the word.
        let told = entry(&daemon).await;
        assert_eq!(
            (told.change, told.waits_for.as_deref()),
            (Change::Repair, Some(flag))
        );
        assert_eq!(told.fields[0].disk, Some(role));
        // That it is to run is written down beside what is left of it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let calls = daemon.host.calls();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(daemon.host.calls(), calls);
        let daemon = daemon.restart().await;
        daemon.until("told again", is_missing).await;

        let confirm = |replace_root, allow_data_loss| Confirm {
            replace_root,
            allow_data_loss,
        };
        let root = role == DiskRole::Cow;
        let other = daemon.handle.confirm(name("web"), confirm(!root, root));
        assert!(other.await.unwrap_err().remedy.unwrap().contains(flag));
        let right = daemon.handle.confirm(name("web"), confirm(root, !root));
        right.await.unwrap();
        let again = daemon.ready("web").await;
        assert_eq!(uid(&again), uid(&web));
        assert!(daemon.handle.diff(Vec::new()).await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_misses_a_disk_can_be_deleted_and_begun_anew() {
    let (daemon, web) = up("").await;
    power(&daemon, Power::Stop).await;
    daemon.until("off", is_off).await;
    daemon.host.lose_disk(uid(&web), DiskRole::Cow);
    power(&daemon, Power::Start).await;
    daemon.until("told", is_missing).await;
    fs::remove_file(daemon.path("web.yaml")).unwrap();
    let deleted = daemon
        .handle
        .delete(Kind::VirtualMachine, name("web"), false);
    deleted.await.unwrap();
    daemon.until("gone", |now| now.vms.is_empty()).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    assert_ne!(uid(&daemon.ready("web").await), uid(&web));
}

/// A missing disk beside a change that waits for a word of its own.
#[tokio::test(start_paused = true)]
async fn a_missing_disk_is_shown_beside_a_change() {
    let (daemon, web) = up("").await;
    power(&daemon, Power::Stop).await;
    daemon.until("off", is_off).await;
    daemon.host.lose_disk(uid(&web), DiskRole::Cow);
    daemon.write("web.yaml", &vm("web", "  vcpus: 4\n")).await;
    power(&daemon, Power::Start).await;
    daemon.until("told", is_missing).await;
    let told = entry(&daemon).await;
    let fields: Vec<_> = told.fields.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["spec.vcpus", "root disk"]);
    assert_eq!(
        (told.change, told.effect),
        (Change::Modify, Effect::ReplaceRoot)
    );
}

/// The image that the one VM is made from.
fn image(daemon: &Daemon) -> ImageDigest {
    let now = daemon.handle.published().borrow().clone();
    let digest = now.images[0].status.image_digest.clone().unwrap();
    ImageDigest(digest.trim_start_matches("sha256:").to_owned())
}

/// A VM that no intent knows has a root disk over the image.
fn orphan(daemon: &Daemon, image: &ImageDigest) -> VmUid {
    let mut vm = generate::vm(900, generate::spec("debian"));
    vm.image = Some(image.clone());
    let uid = vm.uid;
    let size = Sectors::from_bytes(1 << 30);
    let vm = VmRef::Intended(Box::new(vm));
    let made = daemon.host.do_vm_step(&vm, &Step::MakeRootDisk { size });
    made.unwrap();
    uid
}

async fn delete(daemon: &Daemon, kind: Kind, of: &str) {
    daemon.handle.delete(kind, name(of), false).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_image_stays_under_the_disk_of_a_vm_that_no_intent_knows() {
    let (daemon, _) = up("").await;
    let image = image(&daemon);
    orphan(&daemon, &image);
    fs::remove_file(daemon.path("web.yaml")).unwrap();
    fs::remove_file(daemon.path("image.yaml")).unwrap();
    delete(&daemon, Kind::VirtualMachine, "web").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    // With the last disk in the trash that is known to need it.
    let id = daemon.handle.trash().await.unwrap()[0].id.clone();
    daemon.handle.empty_trash(vec![id]).await.unwrap();
    assert!(daemon.host.holds_image(&image));
    delete(&daemon, Kind::Image, "debian").await;
    daemon.until("forgotten", |now| now.images.is_empty()).await;
    assert!(daemon.host.holds_image(&image));
    assert_eq!(daemon.host.bereft(), []);
}

#[tokio::test(start_paused = true)]
async fn emptying_the_trash_takes_no_image_from_an_orphan() {
    for put_away in [false, true] {
        let (daemon, _) = up("").await;
        let image = image(&daemon);
        let orphan = VmRef::Orphan(orphan(&daemon, &image));
        let drop = Step::DropDisks { purge: false };
        if put_away {
            daemon.host.do_vm_step(&orphan, &drop).unwrap();
        }
        for file in ["web.yaml", "image.yaml"] {
            fs::remove_file(daemon.path(file)).unwrap();
        }
        delete(&daemon, Kind::VirtualMachine, "web").await;
        daemon.until("gone", |now| now.vms.is_empty()).await;
        delete(&daemon, Kind::Image, "debian").await;
        daemon.until("forgotten", |now| now.images.is_empty()).await;
        let trash = daemon.handle.trash().await.unwrap();
        let known = trash.iter().filter(|entry| entry.name.is_some());
        let known: Vec<_> = known.map(|entry| entry.id.clone()).collect();
        assert_eq!(known.len(), 1);
        daemon.handle.empty_trash(known).await.unwrap();
        assert!(daemon.host.holds_image(&image));

        // Once the orphan's is gone nothing needs it, and a collection takes it.
        daemon.host.do_vm_step(&orphan, &drop).unwrap();
        let left = daemon.handle.trash().await.unwrap();
        let left = left.iter().map(|entry| entry.id.clone()).collect();
        daemon.handle.empty_trash(left).await.unwrap();
        assert!(daemon.host.holds_image(&image));
        daemon.handle.collect(Collect::default()).await.unwrap();
        assert!(!daemon.host.holds_image(&image));
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_read_is_told_and_replaced_by_nothing() {
    let (daemon, web) = up("").await;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    daemon.host.spoil_trash();
    let trash = daemon.handle.trash().await.unwrap();
    assert!(trash[0].unread.as_deref().unwrap().contains("trash.json"));
    let refused = daemon.handle.undelete(trash[0].id.clone()).await;
    assert!(refused.unwrap_err().message.contains("trash.json"));

    daemon.write("web.yaml", &vm("web", "")).await;
    let (_, problems) = daemon.handle.sync().await.unwrap();
    let remedy = problems[0].remedy.as_deref().unwrap();
    assert!(remedy.contains(&trash[0].id), "{problems:?}");
    assert!(daemon.handle.published().borrow().vms.is_empty());
    // Without it the name is free again.
    let emptied = daemon.handle.empty_trash(vec![trash[0].id.clone()]);
    emptied.await.unwrap();
    daemon.handle.sync().await.unwrap();
    assert_ne!(uid(&daemon.ready("web").await), uid(&web));
}

/// A name is not given to a new VM because nobody can see the old one's disks.
#[tokio::test(start_paused = true)]
async fn a_trash_that_is_away_is_not_an_empty_one() {
    let (daemon, before) = up("").await;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    daemon.host.lose_trash(true);
    for _ in 0..2 {
        daemon.write("web.yaml", &vm("web", "")).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        let now = daemon
            .until("refused", |now| !now.problems.is_empty())
            .await;
        assert!(now.vms.is_empty(), "{now:#?}");
        assert!(daemon.handle.trash().await.is_err());
        daemon.remove("web.yaml").await;
    }
    // What is known of it outlives the daemon.
    let daemon = daemon.restart().await;
    daemon.write("web.yaml", &vm("web", "")).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let now = daemon
        .until("refused", |now| !now.problems.is_empty())
        .await;
    assert!(now.vms.is_empty(), "{now:#?}");
    daemon.host.lose_trash(false);
    assert_eq!(uid(&daemon.ready("web").await), uid(&before));
}
