//! The trash: back out of it, and away for good.

use std::sync::atomic::Ordering;

use super::*;

async fn deleted(spec: &str) -> (Daemon, VmUid) {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", spec)).await;
    let web = daemon.ready("web").await;
    fs::remove_file(daemon.path("web.yaml")).unwrap();
    daemon
        .handle
        .delete(Kind::VirtualMachine, name("web"), false)
        .await
        .unwrap();
    daemon.until("gone", |now| now.vms.is_empty()).await;
    (daemon, uid(&web))
}

#[tokio::test(start_paused = true)]
async fn an_entry_says_all_that_is_needed_to_have_it_back() {
    let (daemon, before) = deleted("  workDisk: {size: 1Gi}\n").await;
    let trash = daemon.handle.trash().await.unwrap();
    let [entry] = trash.as_slice() else {
        panic!("{trash:?}");
    };
    assert_eq!((entry.uid, entry.name.clone()), (before, Some(name("web"))));
    assert_eq!(entry.disks, [DiskRole::Cow, DiskRole::Work]);
    let document = entry.document.clone().unwrap();
    assert_eq!(document.file, Some(daemon.path("web.yaml")));
    assert_eq!(document.text, vm("web", "  workDisk: {size: 1Gi}\n"));
    let keep = 3 * 3600;
    assert!((keep - 60..=keep).contains(&entry.expires_in_seconds));
}

#[tokio::test(start_paused = true)]
async fn undelete_brings_back_uid_and_disks_with_the_document() {
    let (daemon, before) = deleted("").await;
    // A namesake that lives is in the way.
    daemon.write("web.yaml", &vm("web", "")).await;
    let namesake = daemon.ready("web").await;
    assert_ne!(uid(&namesake), before);
    let id = daemon.handle.trash().await.unwrap()[0].id.clone();
    let refused = daemon.handle.undelete(id.clone()).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.remedy.unwrap().contains("banger rename"));
    fs::remove_file(daemon.path("web.yaml")).unwrap();
    let deleted = daemon
        .handle
        .delete(Kind::VirtualMachine, name("web"), false)
        .await;
    deleted.unwrap();
    daemon.until("gone", |now| now.vms.is_empty()).await;

    let missing = daemon.handle.undelete("nothing".into()).await;
    assert_eq!(missing.unwrap_err().code, Code::NotFound);
    // Of two, the one that was asked for; also if the daemon ends in between.
    daemon.handle.undelete(id).await.unwrap();
    let daemon = daemon.restart().await;
    daemon.write("web.yaml", &vm("web", "")).await;
    assert_eq!(uid(&daemon.ready("web").await), before);
    let left = daemon.handle.trash().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].uid, uid(&namesake));
}

#[tokio::test(start_paused = true)]
async fn emptying_removes_what_was_named_and_nothing_else() {
    let (daemon, _) = deleted("").await;
    let wrong = daemon.handle.empty_trash(vec!["nothing".into()]).await;
    assert_eq!(wrong.unwrap_err().code, Code::NotFound);
    let id = daemon.handle.trash().await.unwrap()[0].id.clone();
    daemon.handle.empty_trash(vec![id]).await.unwrap();
    assert_eq!(daemon.handle.trash().await.unwrap(), []);
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.ready("web").await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_seen_in_the_trash_is_not_taken_for_new() {
    let (daemon, before) = {
        let daemon = Daemon::start().await;
        daemon.write("image.yaml", IMAGE).await;
        daemon.write("web.yaml", &vm("web", "")).await;
        let web = daemon.ready("web").await;
        daemon.remove("web.yaml").await;
        daemon.until("gone", |now| now.vms.is_empty()).await;
        (daemon, uid(&web))
    };
    daemon.host.fail_observations(true);
    daemon.write("web.yaml", &vm("web", "")).await;
    let (_, problems) = daemon.handle.sync().await.unwrap();
    assert!(
        problems[0].message.contains("has disks already"),
        "{problems:?}"
    );
    assert!(daemon.handle.published().borrow().vms.is_empty());
    daemon.host.fail_observations(false);
    assert_eq!(uid(&daemon.ready("web").await), before);
}

/// Three hours of running; neither downtime nor a suspended host counts.
#[tokio::test(start_paused = true)]
async fn the_trash_expires_by_running_time() {
    let (daemon, _) = deleted("").await;
    let hours = |n: u64| Duration::from_secs(n * 3600);
    tokio::time::sleep(hours(1)).await;
    daemon.stop.cancel();
    daemon.task.await.unwrap();
    drop(daemon.handle);
    // A month without a daemon.
    tokio::time::sleep(hours(720)).await;
    let daemon = Daemon::on(daemon.root, daemon.host, daemon.began);
    tokio::time::sleep(hours(1)).await;
    let trash = daemon.handle.trash().await.unwrap();
    assert_eq!(trash.len(), 1);
    let left = trash[0].expires_in_seconds;
    assert!((3600 - 120..=3600 + 120).contains(&left), "{left}");
    // A host that slept for a week wakes up: the timers find the clock far ahead.
    daemon
        .skip
        .store(hours(168).as_secs() * 1000, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(daemon.handle.trash().await.unwrap().len(), 1);
    tokio::time::sleep(hours(1)).await;
    assert_eq!(daemon.handle.trash().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn an_image_stays_for_as_long_as_a_root_in_the_trash_needs_it() {
    let (daemon, before) = deleted("").await;
    let image = {
        let now = daemon.handle.published().borrow().clone();
        let digest = now.images[0].status.image_digest.clone().unwrap();
        let digest = digest.strip_prefix("sha256:").unwrap_or(&digest).to_owned();
        banger_core::intent::ImageDigest(digest)
    };
    assert!(daemon.host.holds_image(&image));
    fs::remove_file(daemon.path("image.yaml")).unwrap();
    let forgotten = daemon
        .handle
        .delete(Kind::Image, name("debian"), false)
        .await;
    forgotten.unwrap();
    daemon.until("forgotten", |now| now.images.is_empty()).await;
    assert!(daemon.host.holds_image(&image));
    let trash = daemon.handle.trash().await.unwrap();
    assert_eq!(trash[0].uid, before);
    let emptied = daemon.handle.empty_trash(vec![trash[0].id.clone()]).await;
    emptied.unwrap();
    assert!(!daemon.host.holds_image(&image), "nothing needs it now");
}

/// It is pinned to the import, and another VM has its address meanwhile.
#[tokio::test(start_paused = true)]
async fn undelete_needs_neither_the_image_s_document_nor_the_address() {
    let (daemon, before) = deleted("").await;
    daemon
        .write("other-image.yaml", &IMAGE.replace("debian", "alpine"))
        .await;
    let other = vm("other", "").replace("debian", "alpine");
    daemon.write("other.yaml", &other).await;
    let ip = |object: &Object| object.status.runtime.as_ref().unwrap().guest_ip;
    let taken = ip(&daemon.ready("other").await);
    fs::remove_file(daemon.path("image.yaml")).unwrap();
    let forgotten = daemon
        .handle
        .delete(Kind::Image, name("debian"), false)
        .await;
    forgotten.unwrap();
    daemon.until("forgotten", |now| now.images.len() == 1).await;

    let entry = daemon.handle.trash().await.unwrap()[0].clone();
    let lay = entry.document.unwrap().text;
    daemon.handle.undelete(entry.id).await.unwrap();
    daemon.write("web.yaml", &lay).await;
    let web = daemon.ready("web").await;
    assert_eq!(uid(&web), before);
    assert_ne!(ip(&web), taken);
    assert_eq!(daemon.handle.trash().await.unwrap(), []);
    assert_eq!(daemon.host.bereft(), []);
}

#[tokio::test(start_paused = true)]
async fn an_undeletion_that_was_taken_back_brings_nothing_back() {
    let (daemon, before) = deleted("").await;
    let id = daemon.handle.trash().await.unwrap()[0].id.clone();
    daemon.handle.undelete(id.clone()).await.unwrap();
    daemon.handle.leave_in_trash(id).await.unwrap();
    daemon.write("web.yaml", &vm("web", "")).await;
    assert_ne!(uid(&daemon.ready("web").await), before);
    assert_eq!(daemon.handle.trash().await.unwrap()[0].uid, before);
    // It expires like any other.
    tokio::time::sleep(Duration::from_secs(4 * 3600)).await;
    assert_eq!(daemon.handle.trash().await.unwrap(), []);
}

/// A rename that was asked for and never written is over with the VM's life.
#[tokio::test(start_paused = true)]
async fn what_comes_back_is_not_still_being_renamed() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let before = uid(&daemon.ready("web").await);
    let rename = daemon.handle.rename(name("web"), name("shop"));
    rename.await.unwrap();
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    assert_eq!(uid(&daemon.ready("web").await), before);
    fs::remove_file(daemon.path("web.yaml")).unwrap();
    daemon.write("shop.yaml", &vm("shop", "")).await;
    assert_ne!(uid(&daemon.ready("shop").await), before);
}
