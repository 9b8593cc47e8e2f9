//! A watch: the objects as they are now, and again whenever something changed.

use std::time::Instant;

use super::call::{Listing, out_of_place};
use super::{CallError, Connection};
use crate::wire::Response;

/// An open watch.
#[derive(Debug)]
pub struct Watch {
    connection: Connection,
}

impl Watch {
    pub(super) const fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// The next state of things. The first comes at once.
    ///
    /// # Errors
    /// [`CallError::TimedOut`] once `deadline` has passed, [`CallError::HungUp`]
    /// where the daemon ends; see [`CallError`] for the rest.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Listing, CallError> {
        match self
            .connection
            .receive(deadline)?
            .ok_or(CallError::HungUp)?
        {
            Response::Objects { objects, problems } => Ok(Listing { objects, problems }),
            other => Err(out_of_place(&other)),
        }
    }
}
