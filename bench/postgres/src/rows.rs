//! The floor of reading: a loop over the driver's rows, all columns decoded and nothing kept.

use futures_util::TryStreamExt;
use sqlx_core::error::Error;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::row::Row;
use sqlx_postgres::{PgConnection, PgRow};
use uuid::Uuid;

/// How many rows are fetched at once.
const PAGE: i64 = 1_000;

/// What a loop has seen; it keeps the loop from being optimised away and proves it whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub events: u64,
    pub bytes: u64,
}

impl Seen {
    pub fn count(&mut self, data: &[u8]) {
        self.events += 1;
        self.bytes += std::hint::black_box(data).len() as u64;
    }

    fn row(&mut self, row: &PgRow) -> i64 {
        let event = std::hint::black_box(Event::of(row).expect("the columns are as they are"));
        self.count(&event.data);
        event.position
    }
}

#[expect(dead_code, reason = "a consumer would look at it")]
struct Event {
    position: i64,
    version: i64,
    schema_version: i64,
    recorded_at: i64,
    occurred_at: Option<i64>,
    id: Uuid,
    stream: String,
    event_type: String,
    content_type: Option<String>,
    tags: Option<Vec<String>>,
    metadata: Option<Vec<u8>>,
    data: Vec<u8>,
}

impl Event {
    fn of(row: &PgRow) -> Result<Self, Error> {
        // Times and metadata as they are on the wire, which costs least.
        Ok(Self {
            position: row.try_get(0)?,
            version: row.try_get(1)?,
            schema_version: row.try_get(2)?,
            recorded_at: row.try_get_unchecked(3)?,
            occurred_at: row.try_get_unchecked(4)?,
            id: row.try_get(5)?,
            stream: row.try_get(6)?,
            event_type: row.try_get(7)?,
            content_type: row.try_get(8)?,
            tags: row.try_get(9)?,
            metadata: row.try_get_unchecked(10)?,
            data: row.try_get(11)?,
        })
    }
}

/// `SELECT` of the columns that a read of the store needs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT e.position, e.version, e.schema_version, e.recorded_at, e.occurred_at, e.id,
                 e.stream, e.type, e.content_type, e.tags, e.metadata, e.data ",
            $rest
        )
    };
}

pub async fn stream(connection: &mut PgConnection, name: &str) -> Seen {
    let statement = select!("FROM annals.events e WHERE e.stream = $1 ORDER BY e.version");
    each(query(statement).bind(name).fetch(connection)).await
}

pub async fn tag(connection: &mut PgConnection, tag: &str) -> Seen {
    let statement = select!(
        "FROM annals.tags t JOIN annals.events e ON e.position = t.position
         WHERE t.tag = $1 ORDER BY t.position"
    );
    each(query(statement).bind(tag).fetch(connection)).await
}

async fn each(mut rows: impl futures_util::Stream<Item = Result<PgRow, Error>> + Unpin) -> Seen {
    let mut seen = Seen::default();
    while let Some(row) = rows.try_next().await.expect("the row is read") {
        seen.row(&row);
    }
    seen
}

/// The log through a cursor.
pub async fn cursor(connection: &mut PgConnection) -> Seen {
    let declare = select!("FROM annals.events e ORDER BY e.position");
    let declare = format!("DECLARE log NO SCROLL CURSOR FOR {declare}");
    connection.execute("BEGIN").await.expect("the transaction begins");
    // Made of constants only.
    let declare = sqlx_core::sql_str::AssertSqlSafe(declare);
    query(declare).execute(&mut *connection).await.expect("the cursor opens");
    let mut seen = Seen::default();
    loop {
        // It stays prepared from one cursor to the next, as their columns are the same.
        let page = each(query("FETCH 1000 FROM log").fetch(&mut *connection)).await;
        if page.events == 0 {
            break;
        }
        seen.events += page.events;
        seen.bytes += page.bytes;
    }
    connection.execute("COMMIT").await.expect("the transaction ends");
    seen
}

/// The log page by page, each behind the last position of the one before.
pub async fn pages(connection: &mut PgConnection) -> Seen {
    let statement =
        select!("FROM annals.events e WHERE e.position > $1 ORDER BY e.position LIMIT $2");
    let mut seen = Seen::default();
    let mut position = 0_i64;
    loop {
        let before = seen.events;
        let mut rows = query(statement).bind(position).bind(PAGE).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.expect("the row is read") {
            position = seen.row(&row);
        }
        if seen.events == before {
            return seen;
        }
    }
}
