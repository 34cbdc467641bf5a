//! Inboxes, on every read side.

/// Runs tests of inboxes on each read side there is.
macro_rules! on_every_read_side {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::inbox::world::World::in_memory().await).await;
                }
            )+
        }
    };
}

mod crash;
mod deliver;
mod dispatch;
mod faults;
mod people;
mod processes;
mod retries;
mod when;
mod world;
