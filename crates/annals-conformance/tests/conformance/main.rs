//! The suites themselves: the stores in memory pass, and every broken one is caught.

mod broken;
mod broken_read_side;
mod broken_snapshots;
mod faults;
mod faulty_read_side;
mod memory;
mod memory_read_side;
mod memory_snapshots;
