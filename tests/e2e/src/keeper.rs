//! Starts programs from one thread that never ends.
//!
//! A test's QEMU must die with the test's process, however that ends, so it
//! asks the kernel for a SIGKILL at its parent's death (`PR_SET_PDEATHSIG`).
//! The kernel takes the starting *thread* for the parent (prctl(2)), and test
//! threads come and go.

use std::{
    io,
    process::{Child, Command},
    sync::{
        Mutex, OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
};

type Request = (Command, Sender<io::Result<Child>>);

static KEEPER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();

/// Starts the command from the lasting thread.
///
/// # Errors
/// The command can't be started.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let keeper = KEEPER.get_or_init(|| {
        let (requests, queue) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in queue {
                // A requester that has gone away loses the child with the
                // process; there is nobody to tell.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(requests)
    });
    let (answer, result) = channel();
    let gone = || io::Error::other("the thread that starts programs has ended");
    keeper
        .lock()
        .map_err(|_| gone())?
        .send((command, answer))
        .map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}
