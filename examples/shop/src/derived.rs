//! What is derived from the shop's log, and follows it: the balances of all accounts, and the
//! catalogue that can be searched.
//!
//! For a shop in `shop.db` all of it is in `shop.derived.db`, so that no append waits for it; it
//! may be deleted, and is then made anew. A catalogue in a cluster has its checkpoint in
//! `shop.elasticsearch.db`, to be deleted for whoever turns to another cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals::sqlite::OpenError;
use annals::{
    GenerationProgress, ListRows, MemoryReadSide, Position, Projecting, ReadError, ReadModel,
    ReadSideError, Rebuild, RebuildError, RowKey, RunningProjection, SqliteReadSide, StatusError,
    WaitError,
};
use annals_search::{
    Elasticsearch, ElasticsearchGenerations, Hits, IndexName, MemoryGenerations, Search,
    SearchError, SearchModel, SqliteGenerations,
};

use crate::account::AccountBalances;
use crate::product::ProductCatalogue;
use crate::shop::Shop;

/// A process that was killed keeps its turn for so long.
const LEASE: Duration = Duration::from_secs(2);
/// How long what is derived has to come as far as the log, before it is rebuilt.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(600);
/// How often a rebuild says how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// What is derived from a shop's log, while it follows it. Clones share it.
#[derive(Clone, Debug)]
pub struct Derived {
    balances: ReadModel<AccountBalances>,
    catalogue: SearchModel<ProductCatalogue>,
    shop: Shop,
    following: Arc<Following>,
    files: Vec<SqliteReadSide>,
}

#[derive(Debug)]
struct Following {
    balances: RunningProjection,
    catalogue: RunningProjection,
}

/// One of the things that are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each is rebuilt by itself")]
pub enum Part {
    /// The balances of all accounts.
    Balances,
    /// The catalogue.
    Products,
}

/// Why something was not derived.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has an answer of its own")]
pub enum NotDerived {
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[from] ReadError),
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file cannot be read or written.
    #[error("cannot read what is derived")]
    ReadSide(#[from] ReadSideError),
    /// The rebuild was not begun.
    #[error("cannot begin to rebuild")]
    Rebuild(#[from] RebuildError),
    /// The catalogue cannot be searched so, or not now.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// Nobody knows how it stands.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// It has not come as far as it should.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

impl Derived {
    /// Of a shop that is gone in the end, and gone with it. Begins to follow its log.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn in_memory(shop: &Shop) -> Self {
        let read_side = MemoryReadSide::new();
        let index = MemoryGenerations::new(ProductCatalogue::fields());
        let catalogue = SearchModel::new(ProductCatalogue, index, read_side.clone());
        let balances = ReadModel::new(AccountBalances, read_side);
        Self::start(shop, balances, catalogue, Pace::default(), vec![])
    }

    /// Of the shop in this file, beside it; the catalogue in a cluster if one is given. Begins to
    /// follow its log, and to rebuild what another version of the program made.
    ///
    /// # Errors
    /// When the files beside it cannot be opened.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn in_file(
        shop: &Shop,
        path: &Path,
        cluster: Option<Elasticsearch>,
        pace: Pace,
    ) -> Result<Self, OpenError> {
        let name = IndexName::new("products").expect("it is a name");
        let fields = ProductCatalogue::fields();
        let file = path.with_extension("derived.db");
        let read_side = SqliteReadSide::open(&file)?;
        let balances = ReadModel::new(AccountBalances, read_side.clone());
        let mut files = vec![read_side.clone()];
        let catalogue = match cluster {
            None => {
                let index = SqliteGenerations::new(file, name, fields);
                SearchModel::new(ProductCatalogue, index, read_side)
            }
            Some(cluster) => {
                let checkpoints = SqliteReadSide::open(path.with_extension("elasticsearch.db"))?;
                files.push(checkpoints.clone());
                let index = ElasticsearchGenerations::new(cluster, name, fields);
                SearchModel::new(ProductCatalogue, index, checkpoints)
            }
        };
        Ok(Self::start(shop, balances, catalogue, pace, files))
    }

    fn start(
        shop: &Shop,
        balances: ReadModel<AccountBalances>,
        catalogue: SearchModel<ProductCatalogue>,
        pace: Pace,
        files: Vec<SqliteReadSide>,
    ) -> Self {
        let start = |projecting: Projecting| pace.of(projecting).start();
        let following = Following {
            balances: start(shop.annals().project(balances.clone())),
            catalogue: start(shop.annals().project(catalogue.clone())),
        };
        Self { balances, catalogue, shop: shop.clone(), following: Arc::new(following), files }
    }

    /// Searches the catalogue. With a position it waits until everything up to it can be found.
    ///
    /// # Errors
    /// [`NotDerived::Search`], and [`NotDerived::Wait`] when it does not come so far in time.
    pub async fn search(&self, search: &Search, after: Option<After>) -> Result<Hits, NotDerived> {
        if let Some(After { position, patience }) = after {
            self.following.catalogue.wait_for(position, patience).await?;
            // A cluster finds what was written only after a while, or when it is told to.
            if let Some(index) = self.catalogue.index().await? {
                index.refresh().await?;
            }
        }
        Ok(self.catalogue.search(search).await?)
    }

    /// The balances of accounts in the order of their names, at most `limit` behind the one that
    /// is called `behind`. With a position it waits until everything up to it is in them.
    ///
    /// # Errors
    /// When they cannot be read, or do not come so far in time.
    pub async fn balances(
        &self,
        behind: Option<&str>,
        limit: usize,
        after: Option<After>,
    ) -> Result<Vec<(RowKey, i64)>, NotDerived> {
        if let Some(After { position, patience }) = after {
            self.following.balances.wait_for(position, patience).await?;
        }
        let list = ListRows { after: behind.map(RowKey::new), limit, ..ListRows::default() };
        Ok(self.balances.list(list).await?)
    }

    /// Waits until it has come as far as the log is now; from its checkpoint on, and no further
    /// back.
    ///
    /// # Errors
    /// When it does not come so far.
    pub async fn catch_up(&self, part: Part) -> Result<Position, NotDerived> {
        let head = self.shop.annals().store().head().await?;
        self.following.part(part).wait_for(head, CATCH_UP_PATIENCE).await?;
        Ok(head)
    }

    /// Makes a part anew, beside what is read, in whose place it comes when it has caught up; or
    /// goes on with a rebuild that was interrupted. `progress` is told twice a second how far it is.
    ///
    /// # Errors
    /// [`NotDerived`].
    pub async fn rebuild(
        &self,
        part: Part,
        rebuild: Rebuild,
        mut progress: impl FnMut(&GenerationProgress),
    ) -> Result<(), NotDerived> {
        match self.catch_up(part).await {
            // Nothing ever happened.
            Ok(Position::START) => return Ok(()),
            // What has stopped is what a rebuild mends.
            Ok(_) | Err(NotDerived::Wait(WaitError::Failed { .. })) => {}
            Err(error) => return Err(error),
        }
        let running = self.following.part(part);
        if running.status().await?.rebuild.is_none() {
            running.rebuild(rebuild).await?;
        }
        loop {
            match running.wait_for_rebuild(TOLD_EVERY).await {
                Err(WaitError::TimedOut { .. }) => {
                    running.status().await?.rebuild.iter().for_each(&mut progress);
                }
                ended => return Ok(ended?),
            }
        }
    }

    /// Stops to follow the log, behind what is being applied, and closes the files. What other
    /// clones ask for afterwards fails.
    pub async fn stop(self) {
        if let Some(Following { balances, catalogue }) = Arc::into_inner(self.following) {
            tokio::join!(balances.stop(), catalogue.stop());
        }
        for file in self.files {
            file.close().await;
        }
    }
}

impl Following {
    fn part(&self, part: Part) -> &RunningProjection {
        match part {
            Part::Balances => &self.balances,
            Part::Products => &self.catalogue,
        }
    }
}

/// Up to where something shall have come before it is read, and how long that is waited for.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct After {
    /// The position of a write.
    pub position: Position,
    /// How long.
    pub patience: Duration,
}

/// How fast rebuilds are: as fast as they can unless said otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace(Option<u32>);

impl Pace {
    /// At most so many events per second in each partition, so that others get their share.
    #[must_use]
    pub fn events_per_second(count: u32) -> Self {
        Self(Some(count))
    }

    fn of(self, projecting: Projecting) -> Projecting {
        let projecting = projecting.lease(LEASE).rebuilding_new_versions();
        match self.0 {
            None => projecting,
            Some(count) => projecting.rebuild_pace(count),
        }
    }
}
