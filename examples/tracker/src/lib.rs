//! An issue tracker with pages, made with `annals`: every action is an event, and everything else
//! (lists, feeds, the audit log, metrics, mail, chat, webhooks, rules) is made of them.
//!
//! [`issue`] and [`person`] are the domain, which knows nothing of stores and requests.
//! [`read_models`] has the rows that pages list; [`inboxes`] what happens outside. [`tracker`]
//! puts them together and runs them, [`web`] has the pages, [`serve`] serves them.

pub mod demo;
pub mod inboxes;
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub mod issue;
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
pub mod person;
pub mod read_models;
pub mod serve;
pub mod tracker;
pub mod web;
