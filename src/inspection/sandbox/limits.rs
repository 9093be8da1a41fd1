//! What the kernel lets the child take.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

/// The most address space: a picture of 50 megapixels with 8 bytes each is decoded in 400 MB, and Cura's own program is mapped, too.
pub const MEMORY_BYTES: u64 = 768 * 1024 * 1024;
/// The most time on a processor. Two hundred pages of PDF take a quarter of a second.
pub const PROCESSOR_SECONDS: u64 = 10;
/// What Linux gives programs by default: how deep a parser may call itself does not depend on how this program was started.
const STACK_BYTES: u64 = 8 * 1024 * 1024;
/// Standard input, output and error, and the one that Landlock's rules need while they are made.
const DESCRIPTORS: u64 = 4;

/// Sets the limits, which cannot be raised again.
pub(super) fn set() -> Result<(), Errno> {
    let limit = |soft, hard| Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    setrlimit(Resource::As, limit(MEMORY_BYTES, MEMORY_BYTES))?;
    setrlimit(Resource::Stack, limit(STACK_BYTES, STACK_BYTES))?;
    // The first limit sends SIGXCPU, which says why; the second one kills.
    setrlimit(Resource::Cpu, limit(PROCESSOR_SECONDS, PROCESSOR_SECONDS + 1))?;
    setrlimit(Resource::Fsize, limit(0, 0))?;
    setrlimit(Resource::Nofile, limit(DESCRIPTORS, DESCRIPTORS))?;
    // No process and no thread; root may still, and is stopped by the filter.
    setrlimit(Resource::Nproc, limit(0, 0))?;
    // A core dump would put what people sent onto a disk.
    setrlimit(Resource::Core, limit(0, 0))
}
