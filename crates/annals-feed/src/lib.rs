//! Activity feeds, audit and statistics of an Annals log.
//!
//! A [`Feed`] is a projection that keeps an [`Entry`] of every event that its [`FeedDefinition`]
//! names: in tables of SQLite or PostgreSQL that are indexed by actor, stream, category, type,
//! batch, correlation and words, or in memory. From there
//!
//! * [`Feed::activity`] reads pages, newest first, for any [`Filter`]; [`Page::with`] loads what
//!   their entries refer to, [`Grouping`] and [`by_day`] put them together, [`Descriptions`] says
//!   in people's languages what happened;
//! * [`Feed::statistics`] counts: by type and actor, per day and hour of a time zone;
//! * [`Feed::audit`] exports CSV and JSON Lines of any length;
//! * [`Feed::live`] goes on with what comes, as server-sent events if wanted.
//!
//! # People's data
//!
//! A feed copies what it keeps. [`FeedDefinition::without_data`] keeps metadata only;
//! [`FeedDefinition::map`] masks what must not be copied. What was copied stays until the feed is
//! rebuilt.

mod activity;
mod audit;
mod cursor;
mod definition;
mod descriptions;
mod entry;
mod error;
mod export;
mod feed;
mod filter;
mod grouping;
mod live;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod sse;
mod statistics;
mod store;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod stored;
mod words;

pub use activity::{Activity, GroupPage, Page, Referenced};
pub use audit::{Audit, Entries, Export};
pub use cursor::{Cursor, LiveCursor};
pub use definition::FeedDefinition;
pub use descriptions::{ARGUMENTS_MAX, Descriptions, InvalidTemplate};
pub use entry::{Entry, EntryBatch, KEY_BYTES_MAX, Place};
pub use error::{FeedError, InvalidCursor};
pub use export::CsvOptions;
pub use feed::Feed;
pub use filter::Filter;
pub use grouping::{Day, Group, Grouping, by_day, join_days};
pub use live::{Live, LiveNotice};
pub use memory::MemoryFeed;
pub use statistics::{DayCount, HourCount, Statistics};
pub use store::{Count, CountBy, EntryStore, Order, Quarter, Slice};
pub use words::{ENTRY_WORDS_MAX, SEARCH_BYTES_MAX, SEARCH_WORDS_MAX, WORD_CHARS_MAX};
