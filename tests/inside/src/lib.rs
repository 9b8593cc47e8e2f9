//! What runs on a host that a test made, beside banger.

pub mod severed;
