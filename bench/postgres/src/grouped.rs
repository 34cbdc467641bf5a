//! The floor: the least a program can do for the same rows in the same tables.
//!
//! One connection and one task, which takes all waiting events and inserts them with one
//! statement. It counts versions in memory. No checks, no limits, no locks, no watermark.

use std::collections::HashMap;

use annals_postgres::{PostgresStore, SchemaName};
use annals_scratch::Database;
use sqlx_core::query::query;
use sqlx_postgres::PgConnection;
use tokio::sync::{mpsc, oneshot};

use crate::fact::Fact;
use crate::server::connect;

const GROUP_MAX: usize = 4_096;

const INSERT: &str = "INSERT INTO floor.events (position, version, schema_version, recorded_at,
        append_index, id, stream, type, tags, data)
    SELECT e.position, e.version, 1, now(), 0, e.id, e.stream, e.type,
           string_to_array(e.tags, E'\\n'), e.data
    FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                $7::bytea[]) AS e(position, version, id, stream, type, tags, data)";

/// The same, and the index of tags.
const INSERT_WITH_TAGS: &str = "WITH given AS MATERIALIZED (
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::text[], $5::text[],
            $6::text[], $7::bytea[]) AS e(position, version, id, stream, type, tags, data)
    ), tags AS (
        INSERT INTO floor.tags (tag, position, type)
        SELECT t.tag, e.position, e.type
        FROM given e, unnest(string_to_array(e.tags, E'\\n')) AS t(tag)
    )
    INSERT INTO floor.events (position, version, schema_version, recorded_at, append_index, id,
        stream, type, tags, data)
    SELECT e.position, e.version, 1, now(), 0, e.id, e.stream, e.type,
           string_to_array(e.tags, E'\\n'), e.data
    FROM given e";

type Waiting = (Fact, oneshot::Sender<i64>);

#[derive(Clone)]
pub struct Grouped {
    waiting: mpsc::UnboundedSender<Waiting>,
}

impl Grouped {
    /// Over the store's own tables, so that they and their indexes are the same.
    pub async fn open(database: &Database, tagged: bool) -> Self {
        let schema = SchemaName::new("floor").expect("the name is valid");
        let tables = PostgresStore::options().schema(schema).connect(database.url()).await;
        tables.expect("the tables are made").close().await;
        let (waiting, queue) = mpsc::unbounded_channel();
        let statement = if tagged { INSERT_WITH_TAGS } else { INSERT };
        tokio::spawn(write(connect(database.url()).await, statement, queue));
        Self { waiting }
    }

    /// Returns when the event is on the disk.
    pub async fn append(&self, fact: Fact) -> i64 {
        let (answer, answered) = oneshot::channel();
        self.waiting.send((fact, answer)).expect("the writer lives");
        answered.await.expect("the writer answers")
    }
}

async fn write(
    mut connection: PgConnection,
    statement: &'static str,
    mut queue: mpsc::UnboundedReceiver<Waiting>,
) {
    let mut streams = HashMap::<String, i64>::new();
    let mut position = 0_i64;
    let mut group = Vec::new();
    while queue.recv_many(&mut group, GROUP_MAX).await > 0 {
        let (mut positions, mut versions) = (Vec::new(), Vec::new());
        for (fact, _) in &group {
            position += 1;
            positions.push(position);
            let version = streams.entry(fact.stream.clone()).or_default();
            *version += 1;
            versions.push(*version);
        }
        let facts = || group.iter().map(|(fact, _)| fact);
        let tags = |fact: &Fact| (!fact.tags.is_empty()).then(|| fact.tags.join("\n"));
        query(statement)
            .bind(&positions)
            .bind(versions)
            .bind(facts().map(|fact| fact.id).collect::<Vec<_>>())
            .bind(facts().map(|fact| &*fact.stream).collect::<Vec<_>>())
            .bind(facts().map(|fact| fact.event_type).collect::<Vec<_>>())
            .bind(facts().map(tags).collect::<Vec<_>>())
            .bind(facts().map(|fact| &*fact.data).collect::<Vec<_>>())
            .execute(&mut connection)
            .await
            .expect("the group is inserted");
        for ((_, answer), position) in group.drain(..).zip(positions) {
            let _ = answer.send(position);
        }
    }
}
