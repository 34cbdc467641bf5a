//! The application as it is used: over HTTP, on both databases, and what is in their tables then.

mod atomic;
mod binary;
mod calculator;
mod client;
mod http;
mod parameters;
mod place;
mod postgres;
mod secret;
mod served;

/// Runs each case on both databases.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::place::Place::sqlite()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::place::Place::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both;
