//! Having the kernel write down what it has in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long the disk may take for what paused guests wrote.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Has the kernel write down all that was written.
pub(super) struct Writeback {
    write: fn(),
    /// Held by the one that has it write: a slow disk is waited for once.
    turn: Arc<Mutex<()>>,
    begun: AtomicU64,
}

/// Guests' block devices are root's, but everybody may ask for all at once (sync(2)).
impl Default for Writeback {
    fn default() -> Self {
        Self::by(rustix::fs::sync)
    }
}

impl Writeback {
    fn by(write: fn()) -> Self {
        Self {
            write,
            turn: Arc::default(),
            begun: AtomicU64::new(0),
        }
    }

    /// Whether what was written before the call is on the disk: `false` where that
    /// took longer. It is gone on with all the same. What others asked for meanwhile
    /// is asked for once.
    pub(super) async fn all(&self, limit: Duration) -> bool {
        let before = self.begun.load(Ordering::SeqCst);
        let written = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            if self.begun.load(Ordering::SeqCst) > before {
                return true;
            }
            self.begun.fetch_add(1, Ordering::SeqCst);
            let write = self.write;
            let writing = spawn_blocking(move || {
                write();
                drop(turn);
            });
            writing.await.is_ok()
        };
        timeout(limit, written).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::thread::sleep;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "multi_thread")]
    async fn those_who_ask_at_once_wait_for_one_that_began_after_they_asked() {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let writeback = Writeback::by(|| {
            COUNT.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(200));
        });
        let first = writeback.all(LONG);
        let later = async {
            while COUNT.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // The first has begun: it may have missed what these wrote.
            futures::future::join_all((0..16).map(|_| writeback.all(LONG))).await
        };
        let (first, later) = tokio::join!(first, later);
        assert!(first && later.into_iter().all(|written| written));
        assert_eq!(COUNT.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_disk_that_is_slow_is_asked_once() {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let writeback = Writeback::by(|| {
            COUNT.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(500));
        });
        for _ in 0..4 {
            assert!(!writeback.all(Duration::from_millis(20)).await);
        }
        assert_eq!(COUNT.load(Ordering::SeqCst), 1);
        assert!(writeback.all(LONG).await);
        assert_eq!(COUNT.load(Ordering::SeqCst), 2);
    }
}
