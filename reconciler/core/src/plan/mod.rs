//! What is to be done: a pure function of intents, observation and clock.

pub mod action;
pub mod step;

pub use action::{Plan, Verb, VmPlan};
pub use step::{HostStep, ImageStep, Step};
