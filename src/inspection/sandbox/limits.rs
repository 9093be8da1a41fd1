//! What the kernel lets the child take.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

/// The most address space: a picture of 50 megapixels with 8 bytes each is decoded in 400 MB, and Cura's own program is mapped, too.
pub const MEMORY_BYTES: u64 = 768 * 1024 * 1024;
/// The most time on a processor. Two hundred pages of PDF take a quarter of a second.
pub const PROCESSOR_SECONDS: u64 = 10;
/// What Linux gives programs by default: how deep a parser may call itself does not depend on how this program was started.
const STACK_BYTES: u64 = 8 * 1024 * 1024;
/// Standard input, output and error.
const DESCRIPTORS: u64 = 3;

/// Sets the limits but that of [`open_no_more`], which cannot be raised again.
pub(super) fn set() -> Result<(), Errno> {
    set_one(Resource::As, MEMORY_BYTES, MEMORY_BYTES)?;
    set_one(Resource::Stack, STACK_BYTES, STACK_BYTES)?;
    // The first limit sends SIGXCPU, which says why; the second one kills.
    set_one(Resource::Cpu, PROCESSOR_SECONDS, PROCESSOR_SECONDS + 1)?;
    set_one(Resource::Fsize, 0, 0)?;
    // No process and no thread; root may still, and is stopped by the filter.
    set_one(Resource::Nproc, 0, 0)?;
    // A core dump would put what people sent onto a disk.
    set_one(Resource::Core, 0, 0)
}

/// From now on nothing can be opened. What is open stays open, whatever its number.
pub(super) fn open_no_more() -> Result<(), Errno> {
    set_one(Resource::Nofile, DESCRIPTORS, DESCRIPTORS)
}

fn set_one(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    setrlimit(resource, limit)
}
