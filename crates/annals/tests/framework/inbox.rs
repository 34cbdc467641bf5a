//! Inboxes, on every read side.

/// Runs tests of inboxes on each read side there is.
macro_rules! on_every_read_side {
    ($($test:ident),+ $(,)?) => {
        on_every_read_side!(@ memory, Memory, $($test),+);
        #[cfg(feature = "sqlite")]
        on_every_read_side!(@ sqlite, Sqlite, $($test),+);
        #[cfg(feature = "postgres")]
        on_every_read_side!(@ postgres, Postgres, $($test),+);
    };
    (@ $module:ident, $read_side:ident, $($test:ident),+) => {
        mod $module {
            use crate::inbox::world::{ReadSide, World};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(World::of(ReadSide::$read_side).await).await;
                }
            )+
        }
    };
}

mod coming;
mod crash;
mod deliver;
mod dispatch;
mod panics;
mod people;
mod processes;
mod retries;
mod when;
mod world;
