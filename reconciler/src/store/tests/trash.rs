//! Running time and what is known of the trash.

use std::sync::Arc;

use super::super::Kept;
use super::*;

#[tokio::test]
async fn what_is_known_of_the_trash_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!((loaded.running_ms, loaded.trash.len()), (0, 0));
    let kept = |since_ms, wanted| Kept { since_ms, wanted };
    let put = |ms: u64, entries: &[(&str, Kept)]| Batch {
        running_ms: Some(ms),
        trash: Some(Arc::new(
            entries
                .iter()
                .map(|(id, kept)| ((*id).to_owned(), *kept))
                .collect(),
        )),
        ..Batch::default()
    };
    let first = put(5, &[("a", kept(1, false)), ("b", kept(2, true))]);
    store.commit(first).await.unwrap();
    let second = put(9, &[("b", kept(2, false))]);
    store.commit(second).await.unwrap();
    reopen(store, dir.path(), |loaded| {
        assert_eq!(loaded.running_ms, 9);
        assert_eq!(
            loaded.trash,
            BTreeMap::from([("b".to_owned(), kept(2, false))])
        );
    });
}
