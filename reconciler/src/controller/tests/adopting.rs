//! What runs goes on running, whatever the database knows of it: an old one put
//! back, a start that wasn't written down, no database at all.

use std::path::Path;

use banger_core::intent::PowerOverride;
use banger_core::plan::Step;
use banger_core::seam::VmRef;
use banger_testkit::Site;

use super::*;
use crate::controller::Collect;

fn database(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("state")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_part = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("banger.db")
    };
    paths.filter(is_part).collect()
}

/// The daemon ends, and something happens to the database before the next one.
async fn meanwhile(daemon: Daemon, change: impl FnOnce(&Path)) -> Daemon {
    daemon.stop.cancel();
    daemon.task.await.unwrap();
    drop(daemon.handle);
    change(daemon.root.path());
    Daemon::on(daemon.root, daemon.host, daemon.began)
}

fn lose(root: &Path) {
    for part in database(root) {
        fs::remove_file(part).unwrap();
    }
}

fn keep(root: &Path) {
    fs::create_dir(root.join("kept")).unwrap();
    for part in database(root) {
        fs::copy(&part, root.join("kept").join(part.file_name().unwrap())).unwrap();
    }
}

fn put_back(root: &Path) {
    lose(root);
    for entry in fs::read_dir(root.join("kept")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), root.join("state").join(entry.file_name())).unwrap();
    }
}

async fn adopted(daemon: &Daemon) -> String {
    daemon.until("a pass", |_| true).await;
    let report = daemon.handle.inventory().await.unwrap();
    assert!(report.is_exact(), "{report:#?}");
    report.adoption.unwrap().to_string()
}

/// Ten minutes in which nothing is done to `web`, and nothing is left to do.
async fn stays(daemon: &Daemon, before: &Object) {
    daemon.ready("web").await;
    // Images may have to be imported anew.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let ready = daemon.ready("web").await;
    let calls = daemon.host.calls();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let now = daemon.ready("web").await;
    assert_eq!(daemon.host.calls(), calls);
    assert_eq!((uid(&now), pid(&now)), (uid(before), pid(before)));
    assert_eq!(now.status.conditions, ready.status.conditions);
    let left = daemon.handle.diff(Vec::new()).await.unwrap();
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test(start_paused = true)]
async fn with_a_database_from_before_the_start_nothing_is_restarted() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    let halted = vm("web", "  runPolicy: Halted\n");
    daemon.write("web.yaml", &halted).await;
    let daemon = meanwhile(daemon, keep).await;
    daemon.write("web.yaml", &vm("web", "  vcpus: 2\n")).await;
    let web = daemon.ready("web").await;
    let daemon = meanwhile(daemon, put_back).await;
    assert_eq!(adopted(&daemon).await, "adopted 1/1 running VMs");
    stays(&daemon, &web).await;
    let web = daemon.ready("web").await;
    assert!(web.metadata.generation >= 2);
    assert_eq!(condition(&web, ConditionType::RestartRequired), None);
}

#[tokio::test(start_paused = true)]
async fn with_a_database_of_an_earlier_start_the_later_one_is_known() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let first = pid(&daemon.ready("web").await);
    let daemon = meanwhile(daemon, keep).await;
    daemon.write("web.yaml", &vm("web", "  vcpus: 2\n")).await;
    let restart = daemon.handle.power(name("web"), Power::Restart);
    restart.await.unwrap();
    let again = |now: &Published| is_ready_again(now, first);
    let web = get(&*daemon.until("restarted", again).await, "web").unwrap();
    let daemon = meanwhile(daemon, put_back).await;
    assert_eq!(adopted(&daemon).await, "adopted 1/1 running VMs");
    stays(&daemon, &web).await;
    let web = daemon.ready("web").await;
    assert_eq!(condition(&web, ConditionType::RestartRequired), None);
    // The database had counted fewer restarts; the next one counts all the same.
    let restart = daemon.handle.power(name("web"), Power::Restart);
    restart.await.unwrap();
    let again = |now: &Published| is_ready_again(now, pid(&web));
    daemon.until("restarted", again).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_nothing_tells_of_is_left_until_somebody_restarts_it() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon
        .write("web.yaml", &vm("web", "  runPolicy: Halted\n"))
        .await;
    let daemon = meanwhile(daemon, keep).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let web = daemon.ready("web").await;
    daemon.host.lose_records();
    let daemon = meanwhile(daemon, put_back).await;
    daemon.until("a pass", |_| true).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let left = daemon.ready("web").await;
    assert_eq!((uid(&left), pid(&left)), (uid(&web), pid(&web)));
    let (status, message) = condition(&left, ConditionType::RestartRequired).unwrap();
    assert_eq!(status, ConditionStatus::True);
    assert!(message.contains("`banger vm restart web`"), "{message}");
    let report = daemon.handle.inventory().await.unwrap();
    assert_eq!(
        report.adoption.unwrap().to_string(),
        "adopted 0/1 running VMs"
    );

    let restart = daemon.handle.power(name("web"), Power::Restart);
    restart.await.unwrap();
    let again = |now: &Published| is_ready_again(now, pid(&web));
    let now = get(&*daemon.until("restarted", again).await, "web").unwrap();
    assert_eq!(condition(&now, ConditionType::RestartRequired), None);
    assert_eq!(daemon.host.trashed(uid(&now)), [], "its disk is the same");
}

#[tokio::test(start_paused = true)]
async fn a_guest_whose_start_was_answered_to_nobody_is_not_started_twice() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    let boot = Site {
        name: "booting the guest".into(),
        nth: 0,
    };
    daemon.host.faults().aim(boot, When::After);
    daemon.write("web.yaml", &vm("web", "")).await;
    let web = daemon.ready("web").await;
    assert!(daemon.host.faults().struck());
    stays(&daemon, &web).await;
    let reasons = daemon.reasons(Kind::VirtualMachine, "web").await;
    assert!(!reasons.contains(&"Demoting".to_owned()), "{reasons:?}");
    assert!(!reasons.contains(&"Stopping".to_owned()), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn with_the_database_lost_documents_take_their_vms_over() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    // A slot that is free before theirs, for one of them to be given by mistake.
    daemon.write("first.yaml", &vm("first", "")).await;
    daemon.ready("first").await;
    for vm_name in ["web", "db"] {
        let text = vm(vm_name, "  workDisk: {size: 1Gi}\n");
        daemon.write(&format!("{vm_name}.yaml"), &text).await;
    }
    let (web, db) = (daemon.ready("web").await, daemon.ready("db").await);
    daemon.remove("first.yaml").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let halted = vm("db", "  workDisk: {size: 1Gi}\n  runPolicy: Halted\n");
    daemon.write("db.yaml", &halted).await;
    let stopped =
        |now: &Published| get(now, "db").is_some_and(|o| o.status.phase == Phase::Stopped);
    daemon.until("stopped", stopped).await;

    let daemon = meanwhile(daemon, lose).await;
    assert_eq!(adopted(&daemon).await, "adopted 1/1 running VMs");
    stays(&daemon, &web).await;
    let address = |object: &Object| object.status.runtime.as_ref().unwrap().guest_ip;
    let now = daemon.ready("web").await;
    assert_eq!(address(&now), address(&web));
    let reasons = daemon.reasons(Kind::VirtualMachine, "web").await;
    assert_eq!(reasons[0], "TakenOver", "{reasons:?}");

    // What doesn't run keeps its disks, and another VM gets another address.
    daemon
        .write("db.yaml", &halted.replace("Halted", "Always"))
        .await;
    let now = daemon.ready("db").await;
    assert_eq!((uid(&now), address(&now)), (uid(&db), address(&db)));
    daemon.write("new.yaml", &vm("new", "")).await;
    let new = daemon.ready("new").await;
    assert_ne!(address(&new), address(&db));
    assert_ne!(address(&new), address(&web));
    assert!(daemon.handle.inventory().await.unwrap().is_exact());
}

/// The record beside the disks has the new name, whether the VM runs or not.
#[tokio::test(start_paused = true)]
async fn with_the_database_lost_a_renamed_vm_is_still_its_documents() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    for vm_name in ["web", "db"] {
        daemon
            .write(&format!("{vm_name}.yaml"), &vm(vm_name, ""))
            .await;
    }
    let (web, db) = (daemon.ready("web").await, daemon.ready("db").await);
    let halted = "  runPolicy: Halted\n";
    daemon.write("db.yaml", &vm("db", halted)).await;
    let stopped =
        |now: &Published| get(now, "db").is_some_and(|o| o.status.phase == Phase::Stopped);
    daemon.until("stopped", stopped).await;
    for (from, to, spec) in [("web", "shop", ""), ("db", "store", halted)] {
        daemon.handle.rename(name(from), name(to)).await.unwrap();
        daemon.write(&format!("{from}.yaml"), &vm(to, spec)).await;
        daemon.until(to, |now| get(now, to).is_some()).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;

    let daemon = meanwhile(daemon, lose).await;
    let shop = daemon.ready("shop").await;
    assert_eq!((uid(&shop), pid(&shop)), (uid(&web), pid(&web)));
    let store = |now: &Published| get(now, "store").is_some();
    let store = get(&*daemon.until("store", store).await, "store").unwrap();
    assert_eq!(uid(&store), uid(&db));
    assert!(daemon.handle.inventory().await.unwrap().is_exact());
}

#[tokio::test(start_paused = true)]
async fn an_orphan_without_a_record_keeps_its_address() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let orphan = daemon.ready("web").await;
    daemon.host.lose_records();
    let daemon = meanwhile(daemon, lose).await;
    let web = daemon.ready("web").await;
    assert_ne!(uid(&web), uid(&orphan));
    let address = |object: &Object| object.status.runtime.as_ref().unwrap().guest_ip;
    assert_ne!(address(&web), address(&orphan));
    let observed = daemon.host.do_observe();
    let here = observed.vm(uid(&orphan)).vmm.present().unwrap();
    assert_eq!(Some(here.process.pid), pid(&orphan), "it is left alone");
}

#[tokio::test(start_paused = true)]
async fn memory_that_cannot_be_read_is_not_memory_that_is_short() {
    let daemon = Daemon::start().await;
    daemon.host.set_available_memory(None);
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let unknown =
        |now: &Published| get(now, "web").is_some_and(|o| o.status.phase == Phase::Unknown);
    let web = get(&*daemon.until("unknown", unknown).await, "web").unwrap();
    let (_, message) = condition(&web, ConditionType::Ready).unwrap();
    assert!(message.contains("can't be read"), "{message}");
    daemon.host.set_available_memory(Some(1 << 40));
    daemon.ready("web").await;
}

fn is_off(now: &Published, vm: &str) -> bool {
    get(now, vm).is_some_and(|it| it.status.phase == Phase::Stopped)
}

/// Ten minutes in which nothing is done to a VM that is off.
async fn stays_off(daemon: &Daemon, before: VmUid) {
    let now = daemon.until("off", |now| is_off(now, "web")).await;
    assert_eq!(get(&now, "web").map(|web| uid(&web)), Some(before));
    // The image is imported anew.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = daemon.host.calls();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(daemon.host.calls(), calls, "nothing is done");
    daemon.until("still off", |now| is_off(now, "web")).await;
}

#[tokio::test(start_paused = true)]
async fn with_the_database_lost_a_vm_that_was_stopped_stays_off() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let before = uid(&daemon.ready("web").await);
    let power = |daemon: &Daemon, power| {
        let handle = daemon.handle.clone();
        async move { handle.power(name("web"), power).await.unwrap() }
    };
    power(&daemon, Power::Stop).await;
    daemon.until("off", |now| is_off(now, "web")).await;
    let daemon = meanwhile(daemon, lose).await;
    stays_off(&daemon, before).await;
    power(&daemon, Power::Start).await;
    let web = daemon.ready("web").await;
    // That, too, is known to the next one.
    let daemon = meanwhile(daemon, lose).await;
    stays(&daemon, &web).await;
}

/// It was started since, and that could not be written down.
#[tokio::test(start_paused = true)]
async fn with_the_database_lost_what_runs_is_not_stopped_for_an_old_record() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let web = daemon.ready("web").await;
    let record = daemon.host.do_observe().vm(uid(&web)).record.clone();
    let mut old = record.unwrap().vm.clone();
    old.power = PowerOverride::Stopped;
    let (host, old) = (daemon.host.clone(), VmRef::Intended(Box::new(old)));
    let daemon = meanwhile(daemon, |root| {
        lose(root);
        host.do_vm_step(&old, &Step::KeepRecord).unwrap();
    })
    .await;
    stays(&daemon, &web).await;
}

#[tokio::test(start_paused = true)]
async fn with_the_database_lost_what_was_done_is_not_done_again() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    let job = vm("web", "  runPolicy: OnFailure\n");
    daemon.write("web.yaml", &job).await;
    let before = uid(&daemon.ready("web").await);
    assert!(daemon.host.guest_leaves(before));
    daemon.until("off", |now| is_off(now, "web")).await;
    // What is written down of it follows at once, as a step of its own.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let daemon = meanwhile(daemon, lose).await;
    stays_off(&daemon, before).await;
    // Another policy is another wish.
    daemon.write("web.yaml", &vm("web", "")).await;
    assert_eq!(uid(&daemon.ready("web").await), before);
}

#[tokio::test(start_paused = true)]
async fn with_the_database_lost_vms_keep_the_names_that_they_were_given() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let shop = daemon.ready("web").await;
    let rename = daemon.handle.rename(name("web"), name("shop"));
    rename.await.unwrap();
    daemon.write("web.yaml", &vm("shop", "")).await;
    daemon.ready("shop").await;
    // Another VM has the old name now.
    daemon.write("second.yaml", &vm("web", "")).await;
    let web = daemon.ready("web").await;
    let daemon = meanwhile(daemon, lose).await;
    stays(&daemon, &web).await;
    let now = daemon.ready("shop").await;
    assert_eq!((uid(&now), pid(&now)), (uid(&shop), pid(&shop)));
    assert!(daemon.handle.inventory().await.unwrap().is_exact());
}

/// It was away, its address was given to another, and it has run since under neither.
#[tokio::test(start_paused = true)]
async fn with_the_database_lost_a_vm_keeps_the_address_that_it_came_back_to() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let before = uid(&daemon.ready("web").await);
    let stop = daemon.handle.power(name("web"), Power::Stop);
    stop.await.unwrap();
    daemon.until("off", |now| is_off(now, "web")).await;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    daemon.write("other.yaml", &vm("other", "")).await;
    let other = daemon.ready("other").await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let address = |object: &Object| object.status.runtime.as_ref().unwrap().guest_ip;
    let now = daemon.until("back", |now| is_off(now, "web")).await;
    let back = address(&get(&now, "web").unwrap());
    assert_ne!(back, address(&other));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let daemon = meanwhile(daemon, lose).await;
    stays_off(&daemon, before).await;
    let now = daemon.until("off", |now| is_off(now, "web")).await;
    assert_eq!(address(&get(&now, "web").unwrap()), back);
    assert_eq!(pid(&daemon.ready("other").await), pid(&other));
}

#[tokio::test(start_paused = true)]
async fn with_the_database_lost_the_trash_gives_back_what_it_holds() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    for vm_name in ["vanished", "web"] {
        daemon
            .write(&format!("{vm_name}.yaml"), &vm(vm_name, ""))
            .await;
    }
    let vanished = uid(&daemon.ready("vanished").await);
    let deleted = uid(&daemon.ready("web").await);
    daemon.remove("vanished.yaml").await;
    daemon.until("gone", |now| now.vms.len() == 1).await;
    fs::remove_file(daemon.path("web.yaml")).unwrap();
    let delete = daemon
        .handle
        .delete(Kind::VirtualMachine, name("web"), false);
    delete.await.unwrap();
    daemon.until("gone", |now| now.vms.is_empty()).await;
    // A namesake runs when the database is lost, and its document goes as well.
    daemon.write("web.yaml", &vm("web", "")).await;
    let namesake = uid(&daemon.ready("web").await);
    let daemon = meanwhile(daemon, |root| {
        lose(root);
        fs::remove_file(root.join("config/vms/web.yaml")).unwrap();
    })
    .await;
    daemon.write("vanished.yaml", &vm("vanished", "")).await;
    assert_eq!(uid(&daemon.ready("vanished").await), vanished);

    let trash = daemon.handle.trash().await.unwrap();
    assert_eq!(trash.len(), 1);
    assert_eq!(
        (trash[0].uid, &trash[0].name),
        (deleted, &Some(name("web")))
    );
    // The document would take over the one that runs.
    let id = trash[0].id.clone();
    for refused in [
        daemon.handle.undelete(id.clone()).await,
        daemon.handle.rename(name("vanished"), name("web")).await,
    ] {
        let refused = refused.unwrap_err();
        let remedy = format!("banger gc --orphan {namesake}");
        assert_eq!(refused.code, Code::Conflict);
        assert!(refused.remedy.unwrap().contains(&remedy));
    }
    let put_away = Collect {
        orphans: [namesake].into(),
        ..Collect::default()
    };
    let collected = daemon.handle.collect(put_away).await.unwrap();
    assert!(collected.removed.iter().all(|it| it.failed.is_none()));
    daemon.handle.undelete(id).await.unwrap();
    daemon.write("web.yaml", &vm("web", "")).await;
    assert_eq!(uid(&daemon.ready("web").await), deleted);
    let left = daemon.handle.trash().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].uid, namesake);
}
