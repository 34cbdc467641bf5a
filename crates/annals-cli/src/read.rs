//! `annals read`: what is in the log.

use annals_core::{Query, QueryItem, StreamId};
use futures_util::TryStreamExt;

use crate::args;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) async fn run(args: args::Read, mut output: Output) -> Result<(), Failure> {
    let opened = args.store.location.open_existing().await?;
    let mut events = opened.store().read(read(args));
    while let Some(event) = events.try_next().await? {
        output.event(&event)?;
    }
    output.flush()?;
    opened.close().await;
    Ok(())
}

fn read(args: args::Read) -> annals_core::Read {
    use annals_core::{Position, Read, Version};

    let is_unfiltered = args.filter.is_empty();
    let mut read = match args.stream {
        Some(stream) if is_unfiltered => Read::stream(stream),
        stream => Read::query(args.filter.into_query(stream)),
    };
    if args.backward {
        read = read.backward();
    }
    read.after = args.after.map_or(read.after, Position::new);
    read.up_to = args.up_to.map_or(read.up_to, Position::new);
    read.from_version = args.from_version.map_or(read.from_version, Version::new);
    read.to_version = args.to_version.map_or(read.to_version, Version::new);
    read.as_at = args.as_at;
    read.limit = args.limit;
    read
}

impl args::Filter {
    fn is_empty(&self) -> bool {
        self.types.is_empty() && self.tags.is_empty() && self.categories.is_empty()
    }

    /// The query for events of `stream`, or of any, that pass the filter.
    pub(crate) fn into_query(self, stream: Option<StreamId>) -> Query {
        Query::of(QueryItem {
            types: self.types,
            tags: self.tags,
            categories: self.categories,
            streams: stream.into_iter().collect(),
        })
    }
}
