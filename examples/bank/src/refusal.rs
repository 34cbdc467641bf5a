//! Why the bank says no, in words for whoever asked.

use crate::cents::Cents;

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "whoever asks should know every answer")]
pub enum Refusal {
    /// An account is opened once.
    #[error("the account is open already; choose another name")]
    AlreadyOpen,
    /// Nobody withdraws what is not there.
    #[error("only {} is in the account", Cents(*held))]
    InsufficientFunds {
        /// What is there.
        held: u64,
    },
    /// An account is opened before it is used.
    #[error("the account is not open; open it first")]
    NotOpen,
    /// A balance is a number of cents that fits 64 bits.
    #[error("that is more than an account can hold; deposit less")]
    TooMuch,
}
