//! The allocator of the three programs: jemalloc, which gives memory back while a process is idle.
//!
//! Its background thread returns pages that were free for ten seconds to the operating system. glibc keeps what the busiest
//! moment needed. docs/BENCHMARKS.md has the figures.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
