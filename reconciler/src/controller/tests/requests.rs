//! Requests don't wait for one another, nor for a host that doesn't answer.

use std::future::Future;

use banger_testkit::Site;
use tokio::time::timeout;

use super::*;
use crate::controller::Refusal;

/// A daemon with a VM that runs and one that lies in the trash.
async fn daemon() -> Daemon {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.write("old.yaml", &vm("old", "")).await;
    daemon.ready("web").await;
    daemon.ready("old").await;
    fs::remove_file(daemon.path("old.yaml")).unwrap();
    let handle = &daemon.handle;
    let deleted = handle.delete(Kind::VirtualMachine, name("old"), false);
    deleted.await.unwrap();
    daemon.until("gone", |now| now.vms.len() == 1).await;
    daemon
}

/// The next call of this gets no answer.
fn hang(daemon: &Daemon, call: &str) {
    let site = Site {
        name: call.into(),
        nth: 0,
    };
    daemon.host.faults().aim(site, When::Timeout);
}

async fn hung(daemon: &Daemon) {
    while !daemon.host.faults().struck() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Before any timer of the loop's: its own resync, a step's deadline. A preview
/// gives a look that is under way two seconds.
async fn at_once<T>(call: impl Future<Output = Result<T, Refusal>>) -> T {
    timeout(Duration::from_secs(3), call)
        .await
        .expect("it waited for something")
        .unwrap()
}

async fn everything_else_is_answered(daemon: &Daemon) {
    let handle = &daemon.handle;
    at_once(handle.diff(Vec::new())).await;
    at_once(handle.sync()).await;
    at_once(handle.inventory()).await;
    assert_eq!(at_once(handle.trash()).await.len(), 1);
    at_once(handle.power(name("web"), Power::Stop)).await;
    at_once(handle.power(name("web"), Power::Start)).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_a_pass_holds_up_no_request() {
    let daemon = daemon().await;
    hang(&daemon, "observing");
    hung(&daemon).await;
    everything_else_is_answered(&daemon).await;
    // A new VM is admitted; nothing is made of it before somebody looked.
    daemon.write("new.yaml", &vm("new", "")).await;
    daemon.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_preview_knows_of_what_just_died() {
    let daemon = daemon().await;
    let mut web = daemon.ready("web").await;
    // The loop takes in any order what has come: the request or the death.
    for _ in 0..8 {
        assert!(daemon.host.kill_vmm(uid(&web)));
        let report = at_once(daemon.handle.diff(Vec::new())).await;
        assert!(!report.entries.is_empty(), "{report:?}");
        let dead = pid(&web);
        let again = |now: &Published| is_ready_again(now, dead);
        web = get(&*daemon.until("it is back", again).await, "web").unwrap();
    }
    daemon.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_a_look_holds_up_no_pass_and_no_request() {
    let daemon = daemon().await;
    hang(&daemon, "listing");
    let handle = daemon.handle.clone();
    let asked = tokio::spawn(async move { handle.inventory().await });
    hung(&daemon).await;
    everything_else_is_answered(&daemon).await;
    daemon.write("new.yaml", &vm("new", "")).await;
    daemon.ready("new").await;
    assert!(!asked.is_finished());
    daemon.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_long_to_remove_holds_up_nobody_else() {
    let daemon = daemon().await;
    let id = daemon.handle.trash().await.unwrap()[0].id.clone();
    hang(&daemon, "emptying the trash");
    let (handle, ids) = (daemon.handle.clone(), vec![id.clone()]);
    let asked = tokio::spawn(async move { handle.empty_trash(ids).await });
    hung(&daemon).await;
    everything_else_is_answered(&daemon).await;
    // It is on its way out: neither once more, nor back.
    for refused in [
        daemon.handle.empty_trash(vec![id.clone()]).await,
        daemon.handle.undelete(id).await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, Code::Conflict);
        assert!(refused.message.contains("being removed"), "{refused}");
    }
    daemon.write("new.yaml", &vm("new", "")).await;
    daemon.ready("new").await;
    assert!(!asked.is_finished());
    daemon.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_document_takes_no_disks_that_are_being_removed() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let before = uid(&daemon.ready("web").await);
    // What vanished comes back with its document, unless it is going.
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    let id = daemon.handle.trash().await.unwrap()[0].id.clone();
    hang(&daemon, "emptying the trash");
    let handle = daemon.handle.clone();
    tokio::spawn(async move { handle.empty_trash(vec![id]).await });
    hung(&daemon).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    assert_ne!(uid(&daemon.ready("web").await), before);
    daemon.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_prune_that_waits_for_documents_holds_up_nobody_else() {
    let daemon = daemon().await;
    for n in 0..3 {
        let file = format!("more-{n}.yaml");
        daemon.write(&file, &vm(&format!("more-{n}"), "")).await;
    }
    for n in 0..3 {
        fs::remove_file(daemon.path(&format!("more-{n}.yaml"))).unwrap();
    }
    let (handle, directory) = (daemon.handle.clone(), daemon.root.path().join("config/vms"));
    let asked = tokio::spawn(async move { handle.prune(vec![directory]).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    at_once(daemon.handle.power(name("web"), Power::Stop)).await;
    at_once(daemon.handle.diff(Vec::new())).await;
    assert!(!asked.is_finished());
    asked.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rename_is_taken_while_a_pass_waits_for_the_host() {
    let daemon = daemon().await;
    let before = uid(&daemon.ready("web").await);
    hang(&daemon, "observing");
    hung(&daemon).await;
    at_once(daemon.handle.rename(name("web"), name("shop"))).await;
    fs::write(daemon.path("web.yaml"), vm("shop", "")).unwrap();
    let (admitted, problems) = at_once(daemon.handle.sync()).await;
    assert_eq!(problems, []);
    let vms = admitted.iter().filter(|it| it.kind == Kind::VirtualMachine);
    let vms: Vec<_> = vms.map(|it| (it.name.clone(), it.uid)).collect();
    assert_eq!(vms, [(name("shop"), before)]);
    daemon.task.abort();
}
