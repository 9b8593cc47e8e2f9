//! A microVM of five bytes: proof that KVM runs guests
//! (Documentation/virt/kvm/api.rst).
//!
//! ```text
//! parent: this very program, `doctor --run-microvm` -> its word on stdout
//! child:  alarm(2) -> VM, memory, vCPU -> out 0x10, 0x42 -> hlt
//! ```
//!
//! It runs in a process of its own, because a broken KVM may keep KVM_RUN for
//! ever: the alarm's default action ends it then.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::libc;

use crate::cli::Exit;
use crate::cli::output::print;

/// Seconds that it may take. It takes a few milliseconds, also nested.
const LIMIT: u32 = 2;
/// Where the code stands in the guest's memory, which is this page alone.
const CODE_AT: u64 = 0x1000;
const PAGE: usize = 0x1000;
/// `mov al, 0x42; out 0x10, al; hlt` in real mode.
const CODE: [u8; 5] = [0xb0, 0x42, 0xe6, 0x10, 0xf4];

mod ioctl {
    //! Requests and structures of linux/kvm.h, as far as they are needed.
    use std::ffi::c_int;

    pub(super) const API_VERSION: c_int = 12;
    pub(super) const EXIT_IO: u32 = 2;
    pub(super) const EXIT_HLT: u32 = 5;

    #[repr(C)]
    pub(super) struct Region {
        pub(super) slot: u32,
        pub(super) flags: u32,
        pub(super) guest_phys_addr: u64,
        pub(super) memory_size: u64,
        pub(super) userspace_addr: u64,
    }

    /// `struct kvm_regs`: sixteen general registers, rip, rflags.
    #[repr(C)]
    #[derive(Default)]
    pub(super) struct Regs {
        pub(super) general: [u64; 16],
        pub(super) rip: u64,
        pub(super) rflags: u64,
    }

    /// `struct kvm_sregs`, 312 bytes, of which only the code segment is touched.
    #[repr(C)]
    pub(super) struct Sregs {
        pub(super) cs_base: u64,
        pub(super) cs_limit: u32,
        pub(super) cs_selector: u16,
        pub(super) rest: [u8; 298],
    }

    nix::ioctl_write_int_bad!(get_api_version, nix::request_code_none!(0xae, 0x00));
    nix::ioctl_write_int_bad!(create_vm, nix::request_code_none!(0xae, 0x01));
    nix::ioctl_write_int_bad!(get_vcpu_mmap_size, nix::request_code_none!(0xae, 0x04));
    nix::ioctl_write_int_bad!(create_vcpu, nix::request_code_none!(0xae, 0x41));
    /// KVM_SET_TSS_ADDR; its argument doesn't fit into an `int`.
    pub(super) const SET_TSS_ADDR: nix::libc::c_ulong = nix::request_code_none!(0xae, 0x47);
    nix::ioctl_write_int_bad!(run, nix::request_code_none!(0xae, 0x80));
    nix::ioctl_write_ptr!(set_user_memory_region, 0xae, 0x46, Region);
    nix::ioctl_write_ptr!(set_regs, 0xae, 0x82, Regs);
    nix::ioctl_read!(get_sregs, 0xae, 0x83, Sregs);
    nix::ioctl_write_ptr!(set_sregs, 0xae, 0x84, Sregs);
}

/// Runs it in a child.
///
/// # Errors
/// Why it didn't run, for a person.
pub(super) fn run() -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(own)
        .args(["doctor", "--run-microvm"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let word = String::from_utf8_lossy(&output.stdout);
    let word = word.trim();
    match (output.status.success(), output.status.signal()) {
        (true, _) if word == "ran" => Ok(()),
        (_, Some(libc::SIGALRM)) => Err(format!("it was not over after {LIMIT} s")),
        _ if word.is_empty() => Err(output.status.to_string()),
        _ => Err(word.to_owned()),
    }
}

/// The child's part: its word goes to stdout.
pub(super) fn child() -> Exit {
    // KVM_RUN gives way to signals, and this one's default action is to end us.
    nix::unistd::alarm::set(LIMIT);
    let (word, exit) = match guest() {
        Ok(()) => ("ran".to_owned(), Exit::Ok),
        Err(why) => (why, Exit::Differs),
    };
    match print(word) {
        Ok(()) => exit,
        Err(failure) => failure.exit,
    }
}

fn guest() -> Result<(), String> {
    let at = |what: &'static str| move |errno: nix::Error| format!("{what}: {errno}");
    let kvm = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .map_err(|error| format!("/dev/kvm: {error}"))?;
    // SAFETY: the request takes no argument but zero.
    let version =
        unsafe { ioctl::get_api_version(kvm.as_raw_fd(), 0) }.map_err(at("KVM_GET_API_VERSION"))?;
    if version != ioctl::API_VERSION {
        return Err(format!("the API's version is {version}, not 12"));
    }
    // SAFETY: machine type 0, the default one.
    let vm = unsafe { ioctl::create_vm(kvm.as_raw_fd(), 0) }.map_err(at("KVM_CREATE_VM"))?;
    let vm = owned(vm);
    // Older Intel CPUs run real mode in a task of their own, whose state needs a
    // place in the guest's addresses; this is where everybody has it.
    // SAFETY: the argument is a guest address.
    let tss = unsafe { libc::ioctl(vm.as_raw_fd(), ioctl::SET_TSS_ADDR, 0xfffb_d000_u64) };
    Errno::result(tss).map_err(at("KVM_SET_TSS_ADDR"))?;

    let memory = Mapping::memory().map_err(at("mmap"))?;
    memory.write(&CODE);
    let region = ioctl::Region {
        slot: 0,
        flags: 0,
        guest_phys_addr: CODE_AT,
        memory_size: PAGE as u64,
        userspace_addr: memory.address.as_ptr() as u64,
    };
    // SAFETY: the region is mapped for as long as `memory` lives, longer than the VM runs.
    unsafe { ioctl::set_user_memory_region(vm.as_raw_fd(), &region) }
        .map_err(at("KVM_SET_USER_MEMORY_REGION"))?;

    // SAFETY: the argument is the vCPU's number.
    let vcpu = unsafe { ioctl::create_vcpu(vm.as_raw_fd(), 0) }.map_err(at("KVM_CREATE_VCPU"))?;
    let vcpu = owned(vcpu);
    // SAFETY: the request takes no argument but zero.
    let length = unsafe { ioctl::get_vcpu_mmap_size(kvm.as_raw_fd(), 0) }
        .map_err(at("KVM_GET_VCPU_MMAP_SIZE"))?;
    let length = usize::try_from(length).unwrap_or(0).max(PAGE);
    let state = Mapping::of(&vcpu, length).map_err(at("mmap of the vCPU"))?;
    registers(&vcpu).map_err(at("the vCPU's registers"))?;

    // SAFETY: the vCPU has memory and registers; `state` is mapped.
    unsafe { ioctl::run(vcpu.as_raw_fd(), 0) }.map_err(at("KVM_RUN"))?;
    let reason = state.u32_at(8);
    if reason != ioctl::EXIT_IO {
        return Err(format!(
            "the guest stopped for reason {reason} and not at its first `out`"
        ));
    }
    // `struct kvm_run`: direction, size, port, count, and where the data is.
    let port = state.u32_at(32) >> 16;
    let data = state.u32_at(40) as usize;
    if port != 0x10 || state.byte_at(data) != Some(0x42) {
        return Err(format!("the guest wrote something else, to port {port:#x}"));
    }
    // SAFETY: as above.
    unsafe { ioctl::run(vcpu.as_raw_fd(), 0) }.map_err(at("KVM_RUN"))?;
    match state.u32_at(8) {
        ioctl::EXIT_HLT => Ok(()),
        reason => Err(format!(
            "the guest stopped for reason {reason} and not at `hlt`"
        )),
    }
}

fn registers(vcpu: &File) -> nix::Result<()> {
    // SAFETY: the kernel fills in the whole structure, which is plain numbers.
    let mut sregs: ioctl::Sregs = unsafe { std::mem::zeroed() };
    // SAFETY: `sregs` is as large as the request says.
    unsafe { ioctl::get_sregs(vcpu.as_raw_fd(), &raw mut sregs) }?;
    sregs.cs_base = 0;
    sregs.cs_selector = 0;
    // SAFETY: as above.
    unsafe { ioctl::set_sregs(vcpu.as_raw_fd(), &sregs) }?;
    let regs = ioctl::Regs {
        rip: CODE_AT,
        // Bit 1 is always set (Intel SDM, EFLAGS).
        rflags: 2,
        ..ioctl::Regs::default()
    };
    // SAFETY: as above.
    unsafe { ioctl::set_regs(vcpu.as_raw_fd(), &regs) }?;
    Ok(())
}

fn owned(descriptor: c_int) -> File {
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    unsafe { File::from_raw_fd(descriptor) }
}

/// Mapped memory, unmapped at the end.
struct Mapping {
    address: NonNull<std::ffi::c_void>,
    length: usize,
}

impl Mapping {
    /// A page for the guest.
    fn memory() -> nix::Result<Self> {
        Self::new(PAGE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// A vCPU's `struct kvm_run`.
    fn of(vcpu: &File, length: usize) -> nix::Result<Self> {
        Self::new(length, libc::MAP_SHARED, vcpu.as_raw_fd())
    }

    fn new(length: usize, flags: c_int, descriptor: c_int) -> nix::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice, overlaps nothing.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                flags,
                descriptor,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let address = NonNull::new(address).ok_or(Errno::ENOMEM)?;
        Ok(Self { address, length })
    }

    fn write(&self, bytes: &[u8; 5]) {
        // SAFETY: the mapping is a page, longer than the code, and ours alone.
        unsafe { self.address.cast::<[u8; 5]>().write(*bytes) };
    }

    fn byte_at(&self, offset: usize) -> Option<u8> {
        // SAFETY: within the mapping; the kernel writes it only while KVM_RUN runs.
        (offset < self.length)
            .then(|| unsafe { self.address.cast::<u8>().add(offset).read_volatile() })
    }

    fn u32_at(&self, offset: usize) -> u32 {
        let byte = |n| self.byte_at(offset + n).unwrap_or(0);
        u32::from_ne_bytes([byte(0), byte(1), byte(2), byte(3)])
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is mapped, and nothing points into it any more.
        let _ = unsafe { libc::munmap(self.address.as_ptr(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::ioctl;

    #[test]
    fn structures_are_as_long_as_the_kernels() {
        assert_eq!(size_of::<ioctl::Regs>(), 144);
        assert_eq!(size_of::<ioctl::Sregs>(), 312);
        assert_eq!(size_of::<ioctl::Region>(), 32);
    }
}
