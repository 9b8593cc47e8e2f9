//! Copies, and a database that isn't as it should be: a clear word with what
//! to do, and nothing destroyed.

use std::error::Error as _;

use rusqlite::OpenFlags;

use super::super::backup::{self, BackupError, DATABASE};
use super::*;

/// A state directory whose database holds two VMs.
async fn populated() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let after = state(vec![vm(1, "web"), vm(2, "db")], vec![image(3, "debian")]);
    store.commit(batch(&none(), &after)).await.unwrap();
    dir
}

fn vms(dir: &Path) -> usize {
    Store::open(dir).unwrap().1.intents.vms.len()
}

#[tokio::test]
async fn a_copy_is_whole_while_the_daemon_writes() {
    let dir = populated().await;
    let (store, loaded) = Store::open(dir.path()).unwrap();
    let before = (loaded.intents, loaded.sources);
    let after = state(vec![vm(1, "web"), vm(2, "db"), vm(4, "new")], vec![]);
    // This is in the log alone.
    store.commit(batch(&before, &after)).await.unwrap();
    let copy = dir.path().join("copy.db");
    let found = backup::backup(dir.path(), &copy).unwrap();
    assert_eq!((found.vms, found.images), (3, 0));
    assert_eq!(backup::check(dir.path()).unwrap(), found);
    let again = backup::backup(dir.path(), &copy).unwrap_err();
    assert!(matches!(again, BackupError::Exists(_)), "{again:?}");
    let names = fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "copy.db-wal"), "{names:?}");
}

#[tokio::test]
async fn a_copy_is_put_back_and_the_replaced_one_is_kept() {
    let dir = populated().await;
    let copy = dir.path().join("copy.db");
    backup::backup(dir.path(), &copy).unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    let before = (loaded.intents, loaded.sources);
    store.commit(batch(&before, &none())).await.unwrap();

    let refused = backup::restore(dir.path(), &copy).unwrap_err();
    let locked = matches!(&refused, BackupError::Database(OpenError::Locked { .. }));
    assert!(locked, "{refused:?}");
    drop(store);
    assert_eq!(vms(dir.path()), 0);
    backup::restore(dir.path(), &copy).unwrap();
    assert_eq!(vms(dir.path()), 2);

    let kept = dir.path().join("banger.db.replaced");
    let other = tempfile::tempdir().unwrap();
    fs::copy(kept, other.path().join(DATABASE)).unwrap();
    assert_eq!(vms(other.path()), 0);
}

#[tokio::test]
async fn a_copy_replaces_a_database_that_is_beyond_repair() {
    let dir = populated().await;
    let copy = dir.path().join("copy.db");
    backup::backup(dir.path(), &copy).unwrap();
    let place = dir.path().join(DATABASE);
    fs::write(&place, b"scrambled".repeat(1000)).unwrap();
    assert!(Store::open(dir.path()).is_err());
    backup::restore(dir.path(), &copy).unwrap();
    assert_eq!(vms(dir.path()), 2);
    let kept = fs::read(dir.path().join("banger.db.replaced")).unwrap();
    assert!(kept.starts_with(b"scrambled"));
}

#[tokio::test]
async fn what_is_no_good_copy_is_not_put_back() {
    let dir = populated().await;
    let copy = dir.path().join("copy.db");
    backup::backup(dir.path(), &copy).unwrap();
    Connection::open(&copy)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let before = fs::read(dir.path().join(DATABASE)).unwrap();
    let newer = backup::restore(dir.path(), &copy).unwrap_err();
    assert!(newer.to_string().contains("version 99"), "{newer}");
    fs::write(&copy, b"a letter".repeat(1000)).unwrap();
    let damaged = backup::restore(dir.path(), &copy).unwrap_err();
    assert!(damaged.to_string().contains("damaged"), "{damaged}");
    let missing = backup::restore(dir.path(), &dir.path().join("no.db")).unwrap_err();
    assert!(matches!(missing, BackupError::Missing(_)), "{missing:?}");
    assert_eq!(fs::read(dir.path().join(DATABASE)).unwrap(), before);
    assert_eq!(vms(dir.path()), 2);
}

#[tokio::test]
async fn a_check_reads_every_row_and_every_reference() {
    let dir = populated().await;
    let connection = Connection::open(dir.path().join(DATABASE)).unwrap();
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    let dangling = "INSERT INTO condition (uid, conditions) VALUES ('nobody', '[]')";
    connection.execute(dangling, ()).unwrap();
    let error = backup::check(dir.path()).unwrap_err();
    assert!(error.to_string().contains("`condition`"), "{error}");
    connection
        .execute("DELETE FROM condition WHERE uid = 'nobody'", ())
        .unwrap();
    backup::check(dir.path()).unwrap();
    connection
        .execute("UPDATE object SET intent = '{}' WHERE name = 'web'", ())
        .unwrap();
    let error = backup::check(dir.path()).unwrap_err();
    assert!(error.to_string().contains("web"), "{error}");
}

#[test]
fn a_copy_is_kept_before_each_migration_and_three_in_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(DATABASE);
    let mut connection = open::connect(&path).unwrap();
    migration::migrate(&mut connection, 1).unwrap();
    for second in 1..=4 {
        let now = Timestamp::from_second(second * 60).unwrap();
        backup::before_migration(&connection, &path, 1, now).unwrap();
    }
    let mut kept = backup::copies(&path);
    kept.sort();
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept[0].to_string_lossy().contains("T000200Z"), "{kept:?}");
    drop(connection);
    // As the daemon does it: the old schema is in the copy.
    drop(open::open(&path).unwrap());
    let mut kept = backup::copies(&path);
    kept.sort();
    assert_eq!(kept.len(), 3);
    let copy = Connection::open(kept.last().unwrap()).unwrap();
    assert_eq!(migration::version(&copy).unwrap(), 1);
    // What is up to date needs none.
    drop(open::open(&path).unwrap());
    assert_eq!(backup::copies(&path).len(), 3);
}

#[tokio::test]
async fn a_truncated_database_is_refused_untouched() {
    let dir = populated().await;
    fs::create_dir_all(dir.path().join("vms/0193f3a0-5b1c-7cc3-98c4-dc0c0c070001")).unwrap();
    let path = dir.path().join(DATABASE);
    let whole = fs::metadata(&path).unwrap().len();
    for length in [whole / 2, 4096, 100, 0] {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(length).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, OpenError::Damaged { .. }),
            "{length}: {error:?}"
        );
        assert!(text.contains("banger db restore"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().len(), length);
    }
}

/// As root nothing is unwritable by its mode: SQLite is told not to write.
#[tokio::test]
async fn a_database_that_cannot_be_written_is_told_with_its_remedy() {
    let dir = populated().await;
    let path = dir.path().join(DATABASE);
    let read_only = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let refused = read_only.execute("DELETE FROM object", ()).unwrap_err();
    let error = open::explain(&path, refused);
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().contains("writable"), "{error}");
    assert!(error.source().is_some());
    drop(read_only);
    assert_eq!(vms(dir.path()), 2);
}

/// `max_page_count` makes SQLite answer as it does where the disk is full.
#[tokio::test]
async fn a_full_disk_fails_the_change_and_keeps_what_there_was() {
    let dir = populated().await;
    let path = dir.path().join(DATABASE);
    let (mut connection, loaded) = open::open(&path).unwrap();
    let pages: i64 = connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    connection
        .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        .unwrap();
    let before = (loaded.intents, loaded.sources);
    let many = (1..200).map(|n| vm(n, &format!("vm-{n}"))).collect();
    let batch = batch(&before, &state(many, vec![]));
    let error = handle::commit(&mut connection, &batch, Timestamp::UNIX_EPOCH).unwrap_err();
    let StoreError::Sqlite(source) = error else {
        panic!("{error:?}");
    };
    let error = open::explain(&path, source);
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("free space"), "{error}");
    drop(connection);
    assert_eq!(vms(dir.path()), 2);
}

#[tokio::test]
async fn an_emptied_database_beside_disks_is_refused_untouched() {
    let dir = populated().await;
    let database = dir.path().join(DATABASE);
    fs::File::create(&database).unwrap();
    let vms = dir.path().join("vms");
    fs::create_dir_all(vms.join(uid(1).to_string())).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("there are disks"), "{error}");
    // What can't be read may hold disks, too: read_dir(3) answers ENOTDIR here.
    fs::remove_dir_all(&vms).unwrap();
    fs::write(&vms, "no directory").unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("can't be read"), "{error}");
    assert_eq!(database.metadata().unwrap().len(), 0);
    fs::remove_file(&vms).unwrap();
    assert_eq!(self::vms(dir.path()), 0);
}
