//! The boot clock (`CLOCK_BOOTTIME`, clock_gettime(2)): it never goes back,
//! and it counts while the machine sleeps.

use std::fmt;
use std::sync::Arc;

/// Milliseconds since the host's boot.
#[derive(Clone)]
pub struct BootClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl BootClock {
    /// The kernel's.
    pub fn system() -> Self {
        Self::new(|| {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            let (seconds, nanos) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
            seconds.saturating_mul(1000) + nanos / 1_000_000
        })
    }

    /// Any other that doesn't go back.
    pub fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Now.
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for BootClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootClock({} ms)", self.now_ms())
    }
}
