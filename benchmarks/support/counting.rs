//! The system's allocator, counting what a thread asks of it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// To be declared `#[global_allocator]`. Counts are a thread's own, so that tests may run beside each other.
pub struct Counting;

/// What the thread has done since it began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Memory asked for, a growth in place included.
    pub allocations: u64,
    /// Bytes asked for and not given back; negative where another thread's were.
    pub live: isize,
    /// The most `live` has been since `reset_peak`.
    pub peak: isize,
}

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocations: 0, live: 0, peak: 0 }) };
}

pub fn counts() -> Counts {
    COUNTS.get()
}

pub fn reset_peak() {
    let counts = COUNTS.get();
    COUNTS.set(Counts { peak: counts.live, ..counts });
}

fn count(allocations: u64, bytes: isize) {
    let counts = COUNTS.get();
    let live = counts.live + bytes;
    COUNTS.set(Counts { allocations: counts.allocations + allocations, live, peak: counts.peak.max(live) });
}

// SAFETY: everything is passed on to the system's allocator; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        unsafe { System.realloc(at, layout, size) }
    }
}
