//! What a person reads: problems as text.

mod problem;

pub use problem::{plain, render};

#[cfg(test)]
mod tests;
