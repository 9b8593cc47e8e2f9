//! What the mass guard goes by.

use std::sync::Arc;

use banger_core::api::Name;
use banger_core::vanish::Guard;

use super::*;

#[tokio::test]
async fn what_the_mass_guard_goes_by_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.guard, Guard::default());
    let put = |guard: &Guard| Batch {
        guard: Some(Arc::new(guard.clone())),
        ..Batch::default()
    };
    let key = |kind, text: &str| (kind, text.parse::<Name>().unwrap());
    let mut guard = Guard::default();
    let held = [
        (key(Kind::VirtualMachine, "web"), "3 of 5".to_owned()),
        (key(Kind::Image, "web"), "3 of 4".to_owned()),
    ];
    guard.held.extend(held);
    let recent = [
        (1, Kind::Image),
        (5, Kind::VirtualMachine),
        (5, Kind::VirtualMachine),
    ];
    guard.recent.extend(recent);
    store.commit(put(&guard)).await.unwrap();
    assert_eq!(store.guard().await.unwrap(), guard);
    reopen(store, dir.path(), |loaded| assert_eq!(loaded.guard, guard));

    guard.held.remove(&key(Kind::VirtualMachine, "web"));
    guard.recent.pop_front();
    let (store, _) = Store::open(dir.path()).unwrap();
    store.commit(put(&guard)).await.unwrap();
    reopen(store, dir.path(), |loaded| assert_eq!(loaded.guard, guard));
}
