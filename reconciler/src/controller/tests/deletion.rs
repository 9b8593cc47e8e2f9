//! Names that come back, names that change, and what the mass guard holds.

use super::*;

const WORK: &str = "  workDisk: {size: 1Gi}\n";

async fn with_web() -> (Daemon, VmUid) {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", WORK)).await;
    let web = daemon.ready("web").await;
    (daemon, uid(&web))
}

async fn delete(daemon: &Daemon, file: &str, vm: &str) {
    fs::remove_file(daemon.path(file)).unwrap();
    let deleted = daemon
        .handle
        .delete(Kind::VirtualMachine, name(vm), false)
        .await;
    deleted.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_vanished_vm_whose_document_is_back_gets_its_uid_and_disks_back() {
    let (daemon, before) = with_web().await;
    let address = daemon.ready("web").await.status.runtime.unwrap().guest_ip;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    assert_eq!(daemon.handle.trash().await.unwrap().len(), 1);
    // What is known of the trash outlives the daemon.
    let daemon = daemon.restart().await;
    daemon.write("again.yaml", &vm("web", WORK)).await;
    let web = daemon.ready("web").await;
    assert_eq!(uid(&web), before);
    assert_eq!(web.metadata.generation, 1);
    assert_eq!(web.status.runtime.unwrap().guest_ip, address);
    assert_eq!(daemon.handle.trash().await.unwrap(), []);
    let reasons = daemon.reasons(Kind::VirtualMachine, "web").await;
    assert!(reasons.contains(&"Restored".to_owned()), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn the_address_of_a_vm_that_was_away_may_be_taken() {
    let (daemon, before) = with_web().await;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    daemon.write("other.yaml", &vm("other", "")).await;
    let other = daemon.ready("other").await;
    daemon.write("web.yaml", &vm("web", WORK)).await;
    let web = daemon.ready("web").await;
    assert_eq!(uid(&web), before);
    let ip = |object: Object| object.status.runtime.unwrap().guest_ip;
    assert_ne!(ip(web), ip(other));
}

/// Wherever in its teardown the deletion is cancelled, nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_deletion_may_be_cancelled_at_every_step() {
    for steps in 0..12 {
        let (daemon, before) = with_web().await;
        let calls = daemon.host.calls();
        // The step after these fails, and its VM waits a moment.
        daemon.host.add_fault(Fault {
            call: calls + steps,
            when: When::After,
        });
        daemon.remove("web.yaml").await;
        let stuck = |now: &Published| {
            now.vms.is_empty()
                || get(now, "web")
                    .is_some_and(|web| web.status.runtime.is_some_and(|it| it.last_error.is_some()))
        };
        daemon.until("stuck or gone", stuck).await;
        daemon.write("web.yaml", &vm("web", WORK)).await;
        let web = daemon.ready("web").await;
        assert_eq!(uid(&web), before, "after {steps} steps");
        assert_eq!(daemon.handle.trash().await.unwrap(), [], "{steps} steps");
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_explicit_deletion_the_name_is_new_and_waits_for_the_old_one() {
    let (daemon, before) = with_web().await;
    // The teardown stands still for a while.
    daemon.host.add_fault(Fault {
        call: daemon.host.calls(),
        when: When::Before,
    });
    delete(&daemon, "web.yaml", "web").await;
    daemon.write("new.yaml", &vm("web", WORK)).await;
    let waits = |now: &Published| {
        get(now, "web").is_some_and(|web| {
            let mut conditions = web.status.conditions.iter();
            conditions.any(|it| it.reason == "AwaitingPredecessor")
        })
    };
    daemon.until("waiting", waits).await;
    let new = |now: &Published| {
        get(now, "web").is_some_and(|web| uid(&web) != before && web.status.phase == Phase::Ready)
    };
    daemon.until("new", new).await;
    let trash = daemon.handle.trash().await.unwrap();
    assert_eq!(trash.len(), 1);
    assert_eq!(trash[0].uid, before);
}

#[tokio::test(start_paused = true)]
async fn a_vm_is_renamed_and_stays_itself() {
    let (daemon, before) = with_web().await;
    let ran = pid(&daemon.ready("web").await);
    let rename = |from: &str, to: &str| daemon.handle.rename(name(from), name(to));
    assert_eq!(rename("web", "web").await.unwrap_err().code, Code::Conflict);
    assert_eq!(rename("no", "shop").await.unwrap_err().code, Code::NotFound);
    rename("web", "shop").await.unwrap();
    // Durable, and nothing is different until the document says so.
    let daemon = daemon.restart().await;
    assert_eq!(uid(&daemon.ready("web").await), before);
    daemon.write("web.yaml", &vm("shop", WORK)).await;
    let shop = daemon.ready("shop").await;
    assert_eq!((uid(&shop), pid(&shop)), (before, ran));
    assert_eq!(shop.metadata.generation, 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let now = daemon.until("settled", |now| now.vms.len() == 1).await;
    assert_eq!(get(&now, "shop").map(|it| pid(&it)), Some(ran));
    let reasons = daemon.reasons(Kind::VirtualMachine, "shop").await;
    assert_eq!(reasons, ["Renamed"]);
    // The word is used up: the next one of that name is another VM.
    daemon.write("web2.yaml", &vm("web", "")).await;
    assert_ne!(uid(&daemon.ready("web").await), before);
}

#[tokio::test(start_paused = true)]
async fn a_typo_in_a_renamed_document_deletes_nothing() {
    let (daemon, before) = with_web().await;
    let ran = pid(&daemon.ready("web").await);
    let renamed = daemon.handle.rename(name("web"), name("shop")).await;
    renamed.unwrap();
    daemon
        .write("web.yaml", &vm("shop", "  vcpus: many\n"))
        .await;
    // Longer than what vanished is waited for.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let web = daemon.ready("web").await;
    assert_eq!((uid(&web), pid(&web)), (before, ran));
    daemon.write("web.yaml", &vm("shop", WORK)).await;
    let shop = daemon.ready("shop").await;
    assert_eq!((uid(&shop), pid(&shop)), (before, ran));
}

#[tokio::test(start_paused = true)]
async fn a_copy_under_the_new_name_is_no_rename() {
    let (daemon, before) = with_web().await;
    daemon
        .handle
        .rename(name("web"), name("shop"))
        .await
        .unwrap();
    daemon.write("shop.yaml", &vm("shop", "")).await;
    assert_ne!(uid(&daemon.ready("shop").await), before);
    assert_eq!(uid(&daemon.ready("web").await), before);
    let taken = daemon.handle.rename(name("web"), name("shop")).await;
    assert_eq!(taken.unwrap_err().code, Code::Conflict);
}

#[tokio::test(start_paused = true)]
async fn what_the_mass_guard_holds_goes_at_a_word_for_its_directory() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    let names = ["a", "b", "c", "d"];
    for vm_name in names {
        daemon
            .write(&format!("{vm_name}.yaml"), &vm(vm_name, ""))
            .await;
        daemon.ready(vm_name).await;
    }
    for vm_name in names {
        fs::remove_file(daemon.path(&format!("{vm_name}.yaml"))).unwrap();
    }
    daemon.handle.sync().await.unwrap();
    let held = |now: &Published| {
        let all = names.iter();
        all.clone()
            .all(|vm| holds(now, vm, ConditionType::DeletionHeld))
            && all.clone().all(|vm| {
                let object = get(now, vm).unwrap();
                let held = condition(&object, ConditionType::DeletionHeld).unwrap();
                held.1.contains("--prune")
            })
    };
    let now = daemon.until("held", held).await;
    let held = condition(&get(&now, "a").unwrap(), ConditionType::DeletionHeld).unwrap();
    let directory = daemon.root.path().join("config/vms");
    let word = format!("`banger apply --prune -f {}`", directory.display());
    assert!(held.1.contains(&word), "{}", held.1);

    let elsewhere = daemon.root.path().join("config/images");
    let none = daemon.handle.prune(vec![elsewhere]).await.unwrap();
    assert_eq!(none, []);
    // What is back is not confirmed with the rest.
    fs::write(daemon.path("d.yaml"), vm("d", "")).unwrap();
    let gone = daemon.handle.prune(vec![directory]).await.unwrap();
    let expected = ["a", "b", "c"].map(|it| (Kind::VirtualMachine, name(it)));
    assert_eq!(gone, expected);
    daemon.until("gone", |now| now.vms.len() == 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    daemon.ready("d").await;
}

#[tokio::test(start_paused = true)]
async fn a_word_right_after_the_documents_went_is_enough() {
    let daemon = Daemon::start().await;
    let names = ["a", "b", "c", "d"];
    daemon.write("image.yaml", IMAGE).await;
    let all = names.map(|n| vm(n, "")).join("---\n");
    daemon.write("all.yaml", &all).await;
    for vm_name in names {
        daemon.ready(vm_name).await;
    }
    fs::remove_file(daemon.path("all.yaml")).unwrap();
    let directory = daemon.root.path().join("config/vms");
    let gone = daemon.handle.prune(vec![directory]).await.unwrap();
    assert_eq!(gone.len(), 4);
    daemon.until("gone", |now| now.vms.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_way_back_may_fail_at_every_step() {
    for when in [When::Before, When::After] {
        for step in 0..10 {
            let (daemon, before) = with_web().await;
            daemon.remove("web.yaml").await;
            daemon.until("gone", |now| now.vms.is_empty()).await;
            let call = daemon.host.calls() + step;
            daemon.host.add_fault(Fault { call, when });
            daemon.write("web.yaml", &vm("web", WORK)).await;
            let daemon = daemon.restart().await;
            let web = daemon.ready("web").await;
            assert_eq!(uid(&web), before, "{step} {when:?}");
            assert_eq!(daemon.handle.trash().await.unwrap(), []);
        }
    }
}

/// What is on its way back and is deleted after all goes as a whole.
#[tokio::test(start_paused = true)]
async fn a_way_back_may_be_given_up() {
    let (daemon, before) = with_web().await;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    daemon.host.add_fault(Fault {
        call: daemon.host.calls(),
        when: When::Before,
    });
    daemon.write("web.yaml", &vm("web", WORK)).await;
    delete(&daemon, "web.yaml", "web").await;
    daemon.until("gone again", |now| now.vms.is_empty()).await;
    daemon.write("web.yaml", &vm("web", WORK)).await;
    // It was deleted by name this time.
    assert_ne!(uid(&daemon.ready("web").await), before);
    let trash = daemon.handle.trash().await.unwrap();
    assert_eq!(trash.len(), 1);
    assert_eq!(trash[0].disks, [DiskRole::Cow, DiskRole::Work]);
}

/// At whichever step of its restart it is.
#[tokio::test(start_paused = true)]
async fn a_vm_is_renamed_while_it_is_restarted() {
    for step in [
        "shutting the guest down",
        "removing the snapshot",
        "making the root disk",
        "starting Firecracker",
        "booting the guest",
    ] {
        let (daemon, before) = with_web().await;
        let ran = pid(&daemon.ready("web").await);
        daemon.host.faults().record();
        let restart = daemon.handle.power(name("web"), Power::Restart);
        restart.await.unwrap();
        let reached = async {
            let is_it = |site: &banger_testkit::Site| site.name == step;
            while !daemon.host.faults().recorded().iter().any(is_it) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(600), reached);
        reached.await.expect(step);
        let rename = daemon.handle.rename(name("web"), name("shop"));
        rename.await.unwrap();
        daemon.write("web.yaml", &vm("shop", WORK)).await;
        let again = |now: &Published| {
            get(now, "shop").is_some_and(|shop| {
                shop.status.phase == Phase::Ready && pid(&shop).is_some() && pid(&shop) != ran
            })
        };
        let now = daemon.until("restarted", again).await;
        assert_eq!(now.vms.len(), 1, "{step}");
        assert_eq!(uid(&now.vms[0]), before, "{step}");
        let ran = pid(&now.vms[0]);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(pid(&daemon.ready("shop").await), ran, "{step}: once more");
        assert_eq!(daemon.handle.trash().await.unwrap(), [], "{step}");
        // What is written beside the disks has the new name, whenever it was written.
        let observed = daemon.host.do_observe();
        let record = observed.vm(before).record.as_ref().unwrap();
        assert_eq!(record.vm.name(), &name("shop"), "{step}");
        assert_eq!(record.start.as_ref().map(|it| it.process.pid), ran);
    }
}

#[tokio::test(start_paused = true)]
async fn two_vms_are_not_to_have_one_name() {
    let (daemon, _) = with_web().await;
    daemon.write("db.yaml", &vm("db", "")).await;
    daemon.ready("db").await;
    let rename = |from: &str| daemon.handle.rename(name(from), name("shop"));
    rename("web").await.unwrap();
    rename("web").await.unwrap();
    let refused = rename("db").await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.message.contains("`web` is to be called `shop`"));
    // The word is kept, and goes when it is taken back.
    let daemon = daemon.restart().await;
    let taken = daemon.handle.rename(name("db"), name("shop")).await;
    assert_eq!(taken.unwrap_err().code, Code::Conflict);
    let back = daemon.handle.rename(name("web"), name("web"));
    back.await.unwrap();
    let free = daemon.handle.rename(name("db"), name("shop"));
    free.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rename_that_was_taken_back_is_no_rename() {
    let (daemon, before) = with_web().await;
    let rename = |to: &str| daemon.handle.rename(name("web"), name(to));
    rename("shop").await.unwrap();
    rename("web").await.unwrap();
    assert_eq!(rename("web").await.unwrap_err().code, Code::Conflict);
    // The old document goes in the very moment in which the new one comes.
    fs::remove_file(daemon.path("web.yaml")).unwrap();
    daemon.write("shop.yaml", &vm("shop", WORK)).await;
    assert_ne!(uid(&daemon.ready("shop").await), before);
    daemon.until("web is gone", |now| now.vms.len() == 1).await;
    assert_eq!(daemon.handle.trash().await.unwrap()[0].uid, before);
}

/// Beside other documents, whose VMs nothing happens to.
#[tokio::test(start_paused = true)]
async fn a_vm_is_renamed_in_a_file_of_several_documents() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    let text = |one: &str| [vm(one, WORK), vm("db", "")].join("---\n");
    daemon.write("all.yaml", &text("web")).await;
    let (web, db) = (daemon.ready("web").await, daemon.ready("db").await);
    let rename = daemon.handle.rename(name("web"), name("shop"));
    rename.await.unwrap();
    daemon.write("all.yaml", &text("shop")).await;
    let shop = daemon.ready("shop").await;
    assert_eq!((uid(&shop), pid(&shop)), (uid(&web), pid(&web)));
    tokio::time::sleep(Duration::from_secs(120)).await;
    let now = daemon.ready("db").await;
    assert_eq!((uid(&now), pid(&now)), (uid(&db), pid(&db)));
    assert_eq!(daemon.handle.published().borrow().vms.len(), 2);
}

/// Five VMs, of which two vanish and go.
async fn with_three_of_five() -> Daemon {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    for vm_name in ["a", "b", "c", "d", "e"] {
        daemon
            .write(&format!("{vm_name}.yaml"), &vm(vm_name, ""))
            .await;
        daemon.ready(vm_name).await;
    }
    for vm_name in ["a", "b"] {
        daemon.remove(&format!("{vm_name}.yaml")).await;
    }
    daemon.until("gone", |now| now.vms.len() == 3).await;
    daemon
}

/// Held by the mass guard, not only waited for.
fn is_guarded(now: &Published, vm: &str) -> bool {
    let object = get(now, vm);
    let held = object.and_then(|object| condition(&object, ConditionType::DeletionHeld));
    held.is_some_and(|(_, why)| why.contains("--prune"))
}

/// One of three is no mass; the third of five is.
#[tokio::test(start_paused = true)]
async fn what_the_mass_guard_holds_stays_held_over_restart_and_reboot() {
    let mut daemon = with_three_of_five().await;
    let before = daemon.ready("c").await;
    daemon.remove("c.yaml").await;
    let now = daemon.until("held", |now| is_guarded(now, "c")).await;
    assert_eq!(held_by(&now, "c"), "DocumentMissing");
    for reboot in [false, true] {
        daemon = match reboot {
            false => daemon.restart().await,
            true => {
                daemon.stop.cancel();
                daemon.task.await.unwrap();
                drop(daemon.handle);
                daemon.host.reboot();
                Daemon::on(daemon.root, daemon.host, Instant::now())
            }
        };
        tokio::time::sleep(Duration::from_secs(600)).await;
        let now = daemon.until("held", |now| is_guarded(now, "c")).await;
        assert_eq!(now.vms.len(), 3, "reboot: {reboot}");
        let c = daemon.ready("c").await;
        assert_eq!(uid(&c), uid(&before), "reboot: {reboot}");
        assert_eq!(pid(&c) == pid(&before), !reboot);
    }
    // A word lets it go, as ever.
    let deleted = daemon
        .handle
        .delete(Kind::VirtualMachine, name("c"), false)
        .await;
    deleted.unwrap();
    daemon.until("gone", |now| now.vms.len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_went_before_a_restart_counts_after_it() {
    let daemon = with_three_of_five().await.restart().await;
    daemon.remove("c.yaml").await;
    daemon.until("held", |now| is_guarded(now, "c")).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    daemon.ready("c").await;
    // But not for ever.
    daemon.write("c.yaml", &vm("c", "")).await;
    daemon.until("back", |now| !is_guarded(now, "c")).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    daemon.remove("c.yaml").await;
    daemon.until("gone", |now| now.vms.len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_gives_a_name_no_other_disks() {
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let (daemon, first) = with_web().await;
    daemon.host.set_wall_clock(at(1_000_000));
    delete(&daemon, "web.yaml", "web").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    daemon.host.set_wall_clock(at(1_000));
    daemon.write("web.yaml", &vm("web", WORK)).await;
    let second = uid(&daemon.ready("web").await);
    assert_ne!(second, first, "it was deleted by name");
    daemon.remove("web.yaml").await;
    daemon.until("gone again", |now| now.vms.is_empty()).await;
    daemon.write("web.yaml", &vm("web", WORK)).await;
    assert_eq!(uid(&daemon.ready("web").await), second);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_a_garbled_file_might_hold_is_not_gone() {
    let (daemon, before) = with_web().await;
    daemon.write("other.yaml", "{{{{").await;
    daemon.remove("web.yaml").await;
    let held = |now: &Published| holds(now, "web", ConditionType::DeletionHeld);
    let now = daemon.until("held", held).await;
    assert_eq!(held_by(&now, "web"), "SourceIncomplete");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(uid(&daemon.ready("web").await), before);
    daemon.remove("other.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
}

/// `web`, with or without the annotation that it must not be deleted.
fn protected(protected: bool) -> String {
    let annotation = match protected {
        true => ", annotations: {banger.dev/prevent-deletion: \"true\"}",
        false => "",
    };
    vm(&format!("web{annotation}"), WORK)
}

async fn with_protected_web() -> (Daemon, VmUid) {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &protected(true)).await;
    let before = uid(&daemon.ready("web").await);
    (daemon, before)
}

#[tokio::test(start_paused = true)]
async fn an_annotation_that_was_taken_back_and_read_protects_no_more() {
    let (daemon, _) = with_protected_web().await;
    daemon.write("web.yaml", &protected(false)).await;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn an_annotation_that_nobody_read_to_be_gone_protects() {
    let (daemon, before) = with_protected_web().await;
    // Nothing is read between the two.
    fs::write(daemon.path("web.yaml"), protected(false)).unwrap();
    daemon.remove("web.yaml").await;
    let held = |now: &Published| {
        let web = get(now, "web");
        let held = web.and_then(|web| condition(&web, ConditionType::DeletionHeld));
        held.is_some_and(|(_, why)| why.contains("prevent-deletion"))
    };
    daemon.until("held", held).await;
    let refused = daemon
        .handle
        .delete(Kind::VirtualMachine, name("web"), false)
        .await
        .unwrap_err();
    assert!(refused.message.contains("prevent-deletion"), "{refused}");
    let daemon = daemon.restart().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    daemon.until("still held", held).await;
    assert_eq!(uid(&daemon.ready("web").await), before);

    daemon.write("web.yaml", &protected(false)).await;
    daemon.until("back", |now| !held(now)).await;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
}
