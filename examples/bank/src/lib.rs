//! A bank account, event-sourced: the domain, which knows nothing of stores and terminals.
//!
//! [`account`] is all of it; [`refusal`] words its refusals, and [`cents`] its amounts.
//! [`statement`] is what is read: a table that is made of what happened.

#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub mod account;
pub mod cents;
pub mod refusal;
pub mod statement;
