//! Adoption, the inventory, and what is collected.

use std::collections::BTreeSet;

use banger_core::inventory::{Object, State};
use banger_testkit::{Extras, Site};

use super::*;
use crate::controller::Collect;

/// The daemon ends, the database is lost, and so are the documents.
async fn lose_everything(daemon: Daemon) -> Daemon {
    daemon.stop.cancel();
    daemon.task.await.unwrap();
    drop(daemon.handle);
    for entry in fs::read_dir(daemon.root.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("banger.db")
        {
            fs::remove_file(path).unwrap();
        }
    }
    for entry in fs::read_dir(daemon.root.path().join("config/vms")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    Daemon::on(daemon.root, daemon.host, daemon.began)
}

fn named(uid: VmUid) -> Collect {
    Collect {
        dry_run: false,
        orphans: [uid].into(),
    }
}

async fn web(daemon: &Daemon) -> banger_core::api::status::Object {
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.ready("web").await
}

#[tokio::test(start_paused = true)]
async fn a_restarted_daemon_says_what_it_adopted() {
    let daemon = Daemon::start().await;
    let uid = uid(&web(&daemon).await);
    let first = daemon.handle.inventory().await.unwrap();
    assert_eq!(
        first.adoption.unwrap().to_string(),
        "adopted 0/0 running VMs"
    );
    let daemon = daemon.restart().await;
    daemon.ready("web").await;
    let report = daemon.handle.inventory().await.unwrap();
    let adoption = report.adoption.clone().unwrap();
    assert_eq!(adoption.to_string(), "adopted 1/1 running VMs");
    assert_eq!(adoption.adopted, [uid]);
    assert!(report.is_exact(), "{report:#?}");
    assert!(report.count(State::Owned) >= 6, "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn with_the_database_lost_running_vms_are_left_alone_and_told() {
    let daemon = Daemon::start().await;
    let uid = uid(&web(&daemon).await);
    let daemon = lose_everything(daemon).await;
    daemon.until("a pass", |_| true).await;
    let (calls, before) = (daemon.host.calls(), daemon.host.do_holdings());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        daemon.host.calls(),
        calls,
        "nothing is done to it, nor to its network"
    );
    assert_eq!(daemon.host.do_holdings(), before);

    let report = daemon.handle.inventory().await.unwrap();
    let adoption = report.adoption.clone().unwrap();
    assert_eq!(adoption.to_string(), "adopted 0/1 running VMs");
    assert!(adoption.left[0].orphan && adoption.left[0].uid == uid);
    assert!(!report.is_exact());
    let remedy = format!("banger gc --orphan {uid}");
    for item in report.items.iter().filter(|it| it.state == State::Unowned) {
        assert_eq!(item.remedy.as_deref(), Some(remedy.as_str()), "{item:?}");
    }
    let (events, _) = daemon.handle.events(None).await.unwrap();
    assert!(
        events
            .iter()
            .any(|it| it.reason == "NotAdopted" && it.name == uid.to_string())
    );

    // Not even a collection touches it unless it is named, and not to try either.
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert_eq!(collected.removed, []);
    assert_eq!(collected.left[0].remedy.as_deref(), Some(remedy.as_str()));
    let dry = Collect {
        dry_run: true,
        ..named(uid)
    };
    let would = daemon.handle.collect(dry).await.unwrap();
    assert!(would.dry_run && would.removed.len() >= 6, "{would:#?}");
    assert_eq!(daemon.host.do_holdings(), before);

    let collected = daemon.handle.collect(named(uid)).await.unwrap();
    assert!(
        collected.removed.iter().all(|it| it.failed.is_none()),
        "{collected:#?}"
    );
    assert_eq!(collected.removed.len(), would.removed.len());
    assert!(daemon.host.is_empty());
    assert_eq!(
        daemon.host.trashed(uid),
        [DiskRole::Cow],
        "its disk is kept"
    );
    assert!(daemon.handle.inventory().await.unwrap().is_exact());
}

#[tokio::test(start_paused = true)]
async fn what_no_intent_knows_is_collected_and_decoys_stay() {
    let daemon = Daemon::start().await;
    let uid = uid(&web(&daemon).await);
    daemon.handle.power(name("web"), Power::Stop).await.unwrap();
    let stopped =
        |now: &Published| get(now, "web").is_some_and(|w| w.status.phase == Phase::Stopped);
    daemon.until("stopped", stopped).await;
    let daemon = lose_everything(daemon).await;
    daemon.until("a pass", |_| true).await;
    daemon.host.with_extras(|extras| {
        *extras = Extras::decoys();
        extras.staging.insert(".import-x".into());
    });
    let report = daemon.handle.inventory().await.unwrap();
    assert_eq!(report.count(State::Unowned), 2, "{report:#?}");
    assert_eq!(report.count(State::Foreign), 4, "{report:#?}");

    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    // The image stays for as long as anything may need it.
    assert_eq!(collected.left.len(), 1, "{collected:#?}");
    assert_eq!(collected.removed.len(), 2, "{collected:#?}");
    assert_eq!(daemon.host.trashed(uid), [DiskRole::Cow]);
    daemon
        .host
        .with_extras(|extras| assert_eq!(*extras, Extras::decoys()));
    let report = daemon.handle.inventory().await.unwrap();
    assert!(report.is_exact() && report.count(State::Foreign) == 4);
    // Somebody else's loop device doesn't change what is done next.
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert_eq!(collected.removed, []);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_ends_that_orphan_and_can_be_tried_again() {
    let daemon = Daemon::start().await;
    let uid = uid(&web(&daemon).await);
    let daemon = lose_everything(daemon).await;
    daemon.until("a pass", |_| true).await;
    daemon.host.add_fault(Fault {
        call: daemon.host.calls() + 2,
        when: When::Before,
    });
    let collected = daemon.handle.collect(named(uid)).await.unwrap();
    let failed: Vec<_> = collected
        .removed
        .iter()
        .map(|it| it.failed.is_some())
        .collect();
    assert_eq!(failed, [false, false, true], "{collected:#?}");
    // It doesn't run any more, so that it need not be named.
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert!(
        collected.removed.iter().all(|it| it.failed.is_none()),
        "{collected:#?}"
    );
    assert!(daemon.host.is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_orphans_can_be_named_and_nothing_goes_unseen() {
    let daemon = Daemon::start().await;
    let uid = uid(&web(&daemon).await);
    let refused = daemon.handle.collect(named(uid)).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.remedy.unwrap().contains("banger delete vm/web"));
    let nobody = banger_testkit::generate::uid(9);
    let refused = daemon.handle.collect(named(nobody)).await.unwrap_err();
    assert_eq!(refused.code, Code::NotFound);

    daemon.host.fail_observations(true);
    let report = daemon.handle.inventory().await.unwrap();
    assert!(!report.unknown.is_empty() && !report.is_exact());
    assert_eq!(report.items, [], "unknown is neither missing nor unowned");
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert_eq!((collected.removed.len(), collected.left.len()), (0, 2));
    let refused = daemon.handle.collect(named(nobody)).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_dead_vmm_is_missing_until_it_is_back() {
    let daemon = Daemon::start().await;
    let web = web(&daemon).await;
    let before = pid(&web);
    let holdings = daemon.host.do_holdings();
    assert!(daemon.host.kill_vmm(uid(&web)));
    let intents = daemon.handle.ledger.state().await.intents;
    let report =
        banger_core::inventory::compare(&intents, &BTreeSet::new(), &daemon.host.do_holdings());
    let missing: Vec<_> = report
        .items
        .iter()
        .filter(|it| it.state == State::Missing)
        .map(|it| it.object)
        .collect();
    assert_eq!(missing, [Object::Vmm]);
    daemon
        .until("started again", |now| is_ready_again(now, before))
        .await;
    assert!(daemon.handle.inventory().await.unwrap().is_exact());
    assert_ne!(daemon.host.do_holdings(), holdings);
}

/// The image's document as another file: its first import is nobody's then.
async fn edit_the_image(daemon: &Daemon) {
    daemon
        .write("image.yaml", &IMAGE.replace("debian.ext4", "debian-2.ext4"))
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn images(holdings: &banger_core::inventory::Holdings) -> usize {
    holdings.images.as_ref().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn an_old_import_stays_until_gc_and_as_long_as_a_vm_may_need_it() {
    let daemon = Daemon::start().await;
    web(&daemon).await;
    edit_the_image(&daemon).await;
    assert_eq!(images(&daemon.host.do_holdings()), 2);
    // The VM runs with the old one.
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert_eq!((collected.removed, collected.left), (vec![], vec![]));
    // Its disks are in the trash, and come back with it.
    daemon.remove("web.yaml").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert_eq!((collected.removed, collected.left), (vec![], vec![]));
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.ready("web").await;

    // Another edit makes one that nobody needs.
    daemon
        .write("image.yaml", &IMAGE.replace("debian.ext4", "debian-3.ext4"))
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let report = daemon.handle.inventory().await.unwrap();
    assert!(report.is_exact(), "it is no leak: {report:#?}");
    let listed: Vec<_> = report
        .items
        .iter()
        .filter(|it| it.state == State::Unneeded)
        .map(|it| (it.object, it.remedy.as_deref()))
        .collect();
    assert_eq!(listed, [(Object::Image, Some("banger gc"))]);
    let dry = Collect {
        dry_run: true,
        ..Collect::default()
    };
    let would = daemon.handle.collect(dry).await.unwrap();
    assert_eq!((would.removed.len(), would.left.len()), (1, 0));
    assert_eq!(images(&daemon.host.do_holdings()), 3);
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert_eq!(collected.removed, would.removed);
    assert_eq!(images(&daemon.host.do_holdings()), 2);
    assert_eq!(
        daemon
            .handle
            .inventory()
            .await
            .unwrap()
            .count(State::Unneeded),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_root_disk_of_nobody_knows_whom_keeps_the_images() {
    let daemon = Daemon::start().await;
    let uid = uid(&web(&daemon).await);
    let daemon = lose_everything(daemon).await;
    daemon.until("a pass", |_| true).await;
    let collected = daemon.handle.collect(named(uid)).await.unwrap();
    assert!(collected.removed.iter().all(|it| it.failed.is_none()));
    assert_eq!(images(&daemon.host.do_holdings()), 1);
    let kept = daemon.handle.collect(Collect::default()).await.unwrap();
    assert_eq!(kept.removed, []);
    let remedy = kept.left[0].remedy.clone().unwrap();
    let id = remedy.strip_prefix("banger trash empty ").unwrap();
    daemon.handle.empty_trash(vec![id.into()]).await.unwrap();
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert_eq!((collected.removed.len(), collected.left.len()), (1, 0));
    assert_eq!(images(&daemon.host.do_holdings()), 0);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_removed_is_said_and_tried_again() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    let imported = |_: &Published| images(&daemon.host.do_holdings()) == 1;
    daemon.until("imported", imported).await;
    edit_the_image(&daemon).await;
    let removal = Site {
        name: "removing an image".into(),
        nth: 0,
    };
    daemon.host.faults().aim(removal, When::Before);
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert!(collected.removed[0].failed.is_some(), "{collected:#?}");
    let collected = daemon.handle.collect(Collect::default()).await.unwrap();
    assert_eq!(collected.removed[0].failed, None);
    assert_eq!(images(&daemon.host.do_holdings()), 1);
}
