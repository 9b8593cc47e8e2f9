//! What banger decides, and nothing of how it does it: specs, admission,
//! intent, observation, plan, status. No I/O, no clock, no runtime; what time
//! it is and what the host holds come in as values.
//!
//! The route of one spec, one type per room and no way back:
//!
//! ```text
//! bytes -> Manifest -> Validated -> Admitted -> Intent
//!                                               Intent + Observed -> Plan -> Outcome -> Status
//! ```

pub mod admit;
pub mod adoption;
pub mod api;
pub mod config;
pub mod diff;
pub mod edit;
pub mod effect;
pub mod firewall;
pub mod intent;
pub mod inventory;
pub mod observed;
pub mod orphans;
pub mod outcome;
pub mod parse;
pub mod plan;
pub mod pressure;
pub mod problem;
pub mod reading;
pub mod record;
pub mod schema;
pub mod seam;
pub mod status;
pub mod text;
pub mod trash;
pub mod validate;
pub mod vanish;
