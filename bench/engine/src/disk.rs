//! What the disk can do at best.

use std::io::Write;
use std::time::{Duration, Instant};

/// How many times a second one page can be written and synced.
pub fn fdatasync_rate() -> f64 {
    let mut file = tempfile::tempfile().expect("a file");
    let page = [7_u8; 4096];
    let start = Instant::now();
    let mut syncs = 0_u32;
    while start.elapsed() < Duration::from_secs(2) {
        file.write_all(&page).expect("the page is written");
        file.sync_data().expect("the page is synced");
        syncs += 1;
    }
    f64::from(syncs) / start.elapsed().as_secs_f64()
}
