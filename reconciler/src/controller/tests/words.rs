//! What waits for a person's word, and what that word is good for.

use super::*;

const EDITED: &str = "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian}\n\
                      spec: {rootfs: {disk: {path: /srv/debian-2.ext4}}}\n";

const REPLACE_ROOT: Confirm = Confirm {
    replace_root: true,
    allow_data_loss: false,
};

fn is_offered(now: &Published) -> bool {
    holds(now, "web", ConditionType::UpdateAvailable)
}

#[tokio::test(start_paused = true)]
async fn an_edited_image_is_offered_and_taken_at_a_word_only() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let before = daemon.ready("web").await;
    let (ran, digest) = (pid(&before), before.status.image_digest.clone());
    assert!(digest.is_some());
    daemon.write("image.yaml", EDITED).await;
    daemon.until("offered", is_offered).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let daemon = daemon.restart().await;
    daemon.until("offered", is_offered).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let web = daemon.ready("web").await;
    assert_eq!((pid(&web), &web.status.image_digest), (ran, &digest));
    assert!(daemon.handle.diff(vec![]).await.unwrap().is_empty());

    // Nor does a restart take it.
    let restart = daemon.handle.power(name("web"), Power::Restart);
    restart.await.unwrap();
    let again = |now: &Published| is_ready_again(now, ran);
    let now = daemon.until("restarted", again).await;
    let web = get(&now, "web").unwrap();
    assert_eq!(web.status.image_digest, digest);
    assert!(is_offered(&now));
    assert_eq!(daemon.host.trashed(uid(&web)), []);

    let ran = pid(&web);
    let confirmed = daemon.handle.confirm(name("web"), REPLACE_ROOT);
    confirmed.await.unwrap();
    let taken = |now: &Published| !is_offered(now) && is_ready_again(now, ran);
    let now = daemon.until("taken", taken).await;
    let web = get(&now, "web").unwrap();
    assert!(web.status.image_digest.is_some() && web.status.image_digest != digest);
    assert_eq!(daemon.host.trashed(uid(&web)), [DiskRole::Cow]);
    let trash = daemon.handle.trash().await.unwrap();
    let disks: Vec<_> = trash.iter().map(|entry| (entry.uid, entry.disk)).collect();
    assert_eq!(disks, [(uid(&web), Some(DiskRole::Cow))]);
}

const LOSE_DATA: Confirm = Confirm {
    replace_root: false,
    allow_data_loss: true,
};

fn work(size: &str, more: &str) -> String {
    vm("web", &format!("  workDisk: {{size: {size}}}\n{more}"))
}

fn is_held(now: &Published) -> bool {
    holds(now, "web", ConditionType::ConfirmationRequired)
}

/// A VM that is off, and whose smaller work disk somebody has confirmed.
async fn confirmed_and_off() -> Daemon {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &work("3Gi", "")).await;
    daemon.ready("web").await;
    let stop = daemon.handle.power(name("web"), Power::Stop);
    stop.await.unwrap();
    daemon.write("web.yaml", &work("2Gi", "")).await;
    daemon.until("held", is_held).await;
    let confirmed = daemon.handle.confirm(name("web"), LOSE_DATA);
    confirmed.await.unwrap();
    daemon.until("confirmed", |now| !is_held(now)).await;
    daemon
}

async fn start(daemon: &Daemon) -> Object {
    let start = daemon.handle.power(name("web"), Power::Start);
    start.await.unwrap();
    daemon.ready("web").await
}

#[tokio::test(start_paused = true)]
async fn an_unrelated_edit_between_word_and_deed_voids_nothing() {
    let daemon = confirmed_and_off().await;
    let edited = work("2Gi", "  vcpus: 2\n  env: {EDITOR: vi}\n");
    daemon.write("web.yaml", &edited).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Durable as well.
    let daemon = daemon.restart().await;
    let web = start(&daemon).await;
    assert_eq!(daemon.host.trashed(uid(&web)), [DiskRole::Work]);
    assert!(daemon.handle.diff(vec![]).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_word_is_good_for_the_very_change_only() {
    let daemon = confirmed_and_off().await;
    daemon.write("web.yaml", &work("1Gi", "")).await;
    daemon.until("held", is_held).await;
    let web = start(&daemon).await;
    assert_eq!(daemon.host.trashed(uid(&web)), []);
    daemon.until("still held", is_held).await;
}
