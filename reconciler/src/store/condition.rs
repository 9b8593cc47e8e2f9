//! Table `condition`: the conditions of each object as they were last
//! published, so that `lastTransitionTime` survives a restart of the daemon.

use std::collections::BTreeMap;

use banger_core::api::Condition;
use banger_protocol::VmUid;
use rusqlite::Connection;

use super::StoreError;

pub(super) const SCHEMA: &str = "
CREATE TABLE condition (
    uid        TEXT PRIMARY KEY REFERENCES object (uid) ON DELETE CASCADE,
    conditions TEXT NOT NULL CHECK (json_valid(conditions))
) STRICT;
";

/// Replaces the conditions of an object; of one that is gone, nothing is kept.
pub(super) fn put(
    connection: &Connection,
    uid: VmUid,
    conditions: &[Condition],
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO condition (uid, conditions)
             SELECT uid, ?2 FROM object WHERE uid = ?1
             ON CONFLICT (uid) DO UPDATE SET conditions = excluded.conditions",
        )?
        .execute((uid.to_string(), serde_json::to_string(conditions)?))?;
    Ok(())
}

/// All of them. One that can't be read is left out: conditions are made anew
/// with every pass, and only their age is lost.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<BTreeMap<VmUid, Vec<Condition>>> {
    let mut all = BTreeMap::new();
    let mut statement = connection.prepare("SELECT uid, conditions FROM condition")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let uid: String = row.get(0)?;
        let json: String = row.get(1)?;
        if let (Ok(uid), Ok(conditions)) = (uid.parse(), serde_json::from_str(&json)) {
            all.insert(uid, conditions);
        }
    }
    Ok(all)
}
