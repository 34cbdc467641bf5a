//! What every index does, and what Elasticsearch is sent.

mod cases;
mod cluster;
mod converge;
mod elasticsearch;
mod embedded;
mod projection;
