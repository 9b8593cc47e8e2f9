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
