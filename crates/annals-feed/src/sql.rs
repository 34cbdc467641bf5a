//! Statements: what is asked of a feed, in the SQL of SQLite and of PostgreSQL.
//!
//! Their text is made of constants, placeholders and the feed's name, which is harmless. Every
//! value is bound; texts that were searched for have been cut into words before.

#[cfg(all(test, feature = "sqlite", feature = "postgres"))]
mod plans;

use std::collections::BTreeSet;

use crate::entry::Place;
use crate::store::QUARTER_MICROS;
use crate::{CountBy, Filter, Order, Slice};

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(dead_code, reason = "the other one is not there")
)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A value in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Number(i64),
    Text(String),
    Texts(Vec<String>),
}

/// Whether few entries have the words that are searched for. No planner knows: SQLite would put a
/// million in order, and PostgreSQL look through a million for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// So few that they are collected from the index of words and put in order.
    Few,
    /// So many that the entries are walked in their order and looked at for the words.
    Many,
}

impl Found {
    /// Few are at most so many.
    const FEW_MAX: usize = 5_000;

    /// What an answer to [`Statement::probe`] means.
    pub(crate) fn of(count: u64) -> Self {
        if count > Self::FEW_MAX as u64 { Self::Many } else { Self::Few }
    }
}

/// A statement and its values, in the order of their placeholders `$1`, `$2` …
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) values: Vec<Bound>,
    dialect: Dialect,
    table: &'static str,
    found: Found,
}

/// What is read of an entry, in this order.
const COLUMNS: &str = "e.position, e.part, e.event, e.stream, e.type, e.actor, e.reason, \
    e.batch, e.batch_description, e.correlation, e.occurred_at, e.recorded_at, e.metadata, e.data";

const PLACE: &str = "e.occurred_at, e.position, e.part";

/// What the index that is walked begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    Stream,
    Batch,
    Correlation,
    Actor,
    Category,
    Type,
    Time,
}

impl Lead {
    /// What leaves the fewest entries, most likely.
    fn of(filter: &Filter) -> Self {
        let said = [
            (filter.streams.is_some(), Self::Stream),
            (filter.batch.is_some(), Self::Batch),
            (filter.correlation.is_some(), Self::Correlation),
            (filter.actors.is_some(), Self::Actor),
            (filter.categories.is_some(), Self::Category),
            (filter.types.is_some(), Self::Type),
        ];
        said.into_iter().find(|(is_said, _)| *is_said).map_or(Self::Time, |(_, lead)| lead)
    }
}

impl Statement {
    fn new(dialect: Dialect, table: &'static str) -> Self {
        Self {
            text: String::with_capacity(1_024),
            values: Vec::new(),
            dialect,
            table,
            found: Found::Few,
        }
    }

    /// How many entries have these words, counted until it is clear that they are many.
    pub(crate) fn probe(dialect: Dialect, table: &'static str, words: &BTreeSet<String>) -> Self {
        let mut sql = Self::new(dialect, table);
        sql.push("SELECT count(*) FROM (");
        sql.with_words(words).limit(Found::FEW_MAX + 1).push(") few");
        sql
    }

    /// Entries in their order.
    pub(crate) fn slice(
        dialect: Dialect,
        table: &'static str,
        filter: &Filter,
        found: Found,
        slice: Slice,
    ) -> Self {
        let mut sql = Self::new(dialect, table);
        let words = filter.words();
        if let (Some(words), Found::Few, Dialect::Postgres) = (&words, found, dialect) {
            // The limit keeps the planner from walking all entries after all.
            let filter = Filter { search: None, ..filter.clone() };
            sql.push("SELECT ").push(COLUMNS).push(" FROM (").with_words(words);
            sql.limit(Found::FEW_MAX + 1).push(") e WHERE true");
            let bounds = Bounds::of(&filter, slice.order, slice.after);
            sql.conditions(&filter, Lead::of(&filter), &bounds);
            sql.in_order(slice.order).limit(slice.limit);
            return sql;
        }
        sql.found = found;
        let bounds = Bounds::of(filter, slice.order, slice.after);
        let lead = Lead::of(filter);
        sql.push("SELECT ").push(COLUMNS);
        match keys(filter, lead) {
            Some(several) if several.len() > 1 => {
                sql.merged(filter, lead, several, &bounds, slice);
            }
            _ => {
                sql.push(" FROM ").push(table).push(" e WHERE true");
                sql.conditions(filter, lead, &bounds);
            }
        }
        sql.in_order(slice.order).limit(slice.limit);
        sql
    }

    /// How many entries there are of each.
    pub(crate) fn count(
        dialect: Dialect,
        table: &'static str,
        filter: &Filter,
        by: CountBy,
        limit: usize,
    ) -> Self {
        let column = match by {
            CountBy::Actor => "e.actor",
            CountBy::Category => "e.category",
            CountBy::Stream => "e.stream",
            CountBy::Type => "e.type",
        };
        let mut sql = Self::new(dialect, table);
        sql.push("SELECT ").push(column).push(", count(*) FROM ").push(table).push(" e WHERE true");
        sql.conditions(filter, Lead::of(filter), &Bounds::of(filter, Order::OldestFirst, None));
        sql.push(" GROUP BY ").push(column);
        sql.push(" ORDER BY count(*) DESC, coalesce(").push(column).push(", '')").limit(limit);
        sql
    }

    /// How many entries there are in each quarter of an hour: its number, and how many.
    pub(crate) fn quarters(dialect: Dialect, table: &'static str, filter: &Filter) -> Self {
        let mut sql = Self::new(dialect, table);
        // Division truncates, and moments before 1970 are negative.
        let micros = QUARTER_MICROS.to_string();
        sql.push("SELECT (e.occurred_at - (e.occurred_at % ").push(&micros).push(" + ");
        sql.push(&micros).push(") % ").push(&micros).push(") / ").push(&micros);
        sql.push(" AS quarter, count(*) FROM ").push(table).push(" e WHERE true");
        sql.conditions(filter, Lead::of(filter), &Bounds::of(filter, Order::OldestFirst, None));
        sql.push(" GROUP BY 1 ORDER BY 1");
        sql
    }

    /// The first entry of each type.
    pub(crate) fn firsts(
        dialect: Dialect,
        table: &'static str,
        filter: &Filter,
        limit: usize,
    ) -> Self {
        let mut sql = Self::new(dialect, table);
        sql.push("SELECT ").push(COLUMNS).push(" FROM (SELECT ").push(COLUMNS);
        sql.push(", row_number() OVER (PARTITION BY e.type ORDER BY ").push(PLACE);
        sql.push(") AS place FROM ").push(table).push(" e WHERE true");
        sql.conditions(filter, Lead::of(filter), &Bounds::of(filter, Order::OldestFirst, None));
        sql.push(") e WHERE place = 1").in_order(Order::OldestFirst).limit(limit);
        sql
    }

    /// The entries of several keys: the first ones of each, from its own part of the index, put in
    /// order. So the costs are those of the page, not of all that the keys have.
    fn merged(
        &mut self,
        filter: &Filter,
        lead: Lead,
        keys: Vec<String>,
        bounds: &Bounds,
        slice: Slice,
    ) {
        let table = self.table;
        match self.dialect {
            Dialect::Sqlite => {
                self.push(" FROM json_each(").bind(Bound::Texts(keys)).push(") k CROSS JOIN ");
                self.push(table).push(" e ON e.row IN (SELECT e.row FROM ").push(table);
            }
            Dialect::Postgres => {
                self.push(" FROM unnest(").bind(Bound::Texts(keys)).push("::text[]) k(value)");
                self.push(" CROSS JOIN LATERAL (SELECT ").push(COLUMNS).push(" FROM ").push(table);
            }
        }
        let column = match lead {
            Lead::Stream => "stream",
            Lead::Actor => "actor",
            Lead::Category => "category",
            _ => "type",
        };
        self.push(" e WHERE e.").push(column).push(" = k.value");
        self.conditions_but(filter, lead, Some(lead), bounds);
        self.in_order(slice.order).limit(slice.limit).push(")");
        if self.dialect == Dialect::Postgres {
            self.push(" e");
        }
    }

    fn conditions(&mut self, filter: &Filter, lead: Lead, bounds: &Bounds) {
        self.conditions_but(filter, lead, None, bounds);
    }

    /// What must hold of an entry, except for what is seen to already.
    fn conditions_but(
        &mut self,
        filter: &Filter,
        lead: Lead,
        seen_to: Option<Lead>,
        bounds: &Bounds,
    ) {
        let of = |texts: Option<&BTreeSet<String>>| texts.map(|t| t.iter().cloned().collect());
        let one = |text: &Option<String>| text.clone().map(|text| vec![text]);
        let said = [
            (Lead::Stream, "e.stream", names(filter.streams.as_ref())),
            (Lead::Batch, "e.batch", one(&filter.batch)),
            (Lead::Correlation, "e.correlation", one(&filter.correlation)),
            (Lead::Actor, "e.actor", of(filter.actors.as_ref())),
            (Lead::Category, "e.category", names(filter.categories.as_ref())),
            (Lead::Type, "e.type", names(filter.types.as_ref())),
        ];
        for (what, column, keys) in said {
            if let Some(keys) = keys.filter(|_| Some(what) != seen_to) {
                self.is_any_of(column, keys, what == lead);
            }
        }
        if let Some(words) = filter.words() {
            self.has(&words);
        }
        if let Some(place) = bounds.above {
            self.push(" AND (").push(PLACE).push(") > ").place(place);
        }
        if let Some(place) = bounds.below {
            self.push(" AND (").push(PLACE).push(") < ").place(place);
        }
    }

    fn is_any_of(&mut self, column: &'static str, mut keys: Vec<String>, leads: bool) {
        // Before a column `+` keeps SQLite from walking another index than the one meant.
        let no_index = if self.dialect == Dialect::Sqlite && !leads { "+" } else { "" };
        self.push(" AND ").push(no_index).push(column);
        match (keys.len(), self.dialect) {
            (1, _) => self.push(" = ").bind(Bound::Text(keys.remove(0))),
            (_, Dialect::Sqlite) => {
                self.push(" IN (SELECT value FROM json_each(").bind(Bound::Texts(keys)).push("))")
            }
            (_, Dialect::Postgres) => {
                self.push(" = ANY(").bind(Bound::Texts(keys)).push("::text[])")
            }
        };
    }

    fn has(&mut self, words: &BTreeSet<String>) {
        match (self.dialect, self.found) {
            (Dialect::Sqlite, Found::Few) => {
                self.push(" AND e.row IN (").with_words(words).push(")");
            }
            (Dialect::Sqlite, Found::Many) => {
                self.push(" AND EXISTS (").with_words(words).push(" AND rowid = e.row)");
            }
            (Dialect::Postgres, _) => {
                self.push(" AND e.words @@ ").words(words);
            }
        }
    }

    /// What has these words: rows of the words' table on SQLite, entries on PostgreSQL.
    fn with_words(&mut self, words: &BTreeSet<String>) -> &mut Self {
        let table = self.table;
        match self.dialect {
            Dialect::Sqlite => {
                self.push("SELECT rowid FROM ").push(table).push("_words WHERE ").push(table);
                self.push("_words MATCH ").words(words)
            }
            Dialect::Postgres => {
                self.push("SELECT ").push(COLUMNS).push(", e.category FROM ").push(table);
                self.push(" e WHERE e.words @@ ").words(words)
            }
        }
    }

    /// Words are letters and digits: between quotes they are nothing but themselves.
    fn words(&mut self, words: &BTreeSet<String>) -> &mut Self {
        let quoted = |quote: &str, between: &str| {
            let words = words.iter().map(|word| format!("{quote}{word}{quote}"));
            Bound::Text(words.collect::<Vec<_>>().join(between))
        };
        match self.dialect {
            Dialect::Sqlite => self.bind(quoted("\"", " ")),
            Dialect::Postgres => self.bind(quoted("'", " & ")).push("::text::tsquery"),
        }
    }

    fn in_order(&mut self, order: Order) -> &mut Self {
        self.push(match order {
            Order::NewestFirst => " ORDER BY e.occurred_at DESC, e.position DESC, e.part DESC",
            Order::OldestFirst => " ORDER BY e.occurred_at, e.position, e.part",
        })
    }

    fn limit(&mut self, limit: usize) -> &mut Self {
        self.push(" LIMIT ").bind(Bound::Number(i64::try_from(limit).unwrap_or(i64::MAX)))
    }

    fn place(&mut self, (occurred_at, position, part): Place) -> &mut Self {
        self.push("(").bind(Bound::Number(occurred_at.as_micros()));
        self.push(", ").bind(Bound::Number(position.get().cast_signed()));
        self.push(", ").bind(Bound::Number(part.into())).push(")")
    }

    fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    fn bind(&mut self, value: Bound) -> &mut Self {
        self.values.push(value);
        self.text.push('$');
        self.text.push_str(&self.values.len().to_string());
        self
    }
}

/// Between which places entries are, neither included.
struct Bounds {
    above: Option<Place>,
    below: Option<Place>,
}

impl Bounds {
    fn of(filter: &Filter, order: Order, after: Option<Place>) -> Self {
        // Before every entry of its moment, since positions begin with 1.
        let since = filter.since.map(|moment| (moment, annals::Position::START, 0));
        let before = filter.before.map(|moment| (moment, annals::Position::START, 0));
        match order {
            Order::NewestFirst => {
                let below = [before, after].into_iter().flatten().min();
                Self { above: since, below }
            }
            Order::OldestFirst => Self { above: since.max(after), below: before },
        }
    }
}

/// The keys of the lead, if there can be several.
fn keys(filter: &Filter, lead: Lead) -> Option<Vec<String>> {
    match lead {
        Lead::Stream => names(filter.streams.as_ref()),
        Lead::Actor => filter.actors.as_ref().map(|actors| actors.iter().cloned().collect()),
        Lead::Category => names(filter.categories.as_ref()),
        Lead::Type => names(filter.types.as_ref()),
        Lead::Batch | Lead::Correlation | Lead::Time => None,
    }
}

fn names<T: ToString>(names: Option<&BTreeSet<T>>) -> Option<Vec<String>> {
    names.map(|names| names.iter().map(ToString::to_string).collect())
}
