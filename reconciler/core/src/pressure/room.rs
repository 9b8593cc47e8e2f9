//! What is left on the file system.

use crate::api::Quantity;

/// Room on the file system that holds the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What an account without privileges may still take (`f_bavail` of statvfs(3)),
    /// less what was written and takes room only later.
    pub free: Quantity,
    /// What the ballast takes.
    pub ballast: Quantity,
}

impl Room {
    /// What would be free with the whole ballast in its place: what the levels
    /// go by. To release the ballast must not look like room that came back.
    pub fn headroom(&self, ballast: Quantity) -> Quantity {
        let lacks = ballast.bytes().saturating_sub(self.ballast.bytes());
        Quantity::from_bytes(self.free.bytes().saturating_sub(lacks))
    }
}
