//! What is told to whoever watches: a line with the seconds since the start.

use std::fmt::Display;
use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    start: Instant,
}

impl Log {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn say(self, text: impl Display) {
        let seconds = self.start.elapsed().as_secs_f64();
        println!("{seconds:7.1} s  {text}");
    }
}
