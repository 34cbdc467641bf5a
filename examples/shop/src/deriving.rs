//! The commands about what is derived from the log.

use std::env;
use std::io::{self, Write};

use annals::sqlite::OpenError;
use annals::{GenerationProgress, Position, Rebuild};
use annals_search::{Credentials, Elasticsearch, ElasticsearchOptions, InvalidCluster};
use shop::derived::{Derived, NotDerived, Pace, Part};
use shop::shop::Shop;

use crate::arguments::{Anew, Location, Rebuilt};
use crate::note;

/// How many balances are read at once.
const LISTED_AT_ONCE: usize = 1_000;
const KEY_VARIABLE: &str = "SHOP_ELASTICSEARCH_KEY";

/// Why nothing was derived.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Underived {
    #[error("cannot use the cluster of --elasticsearch, with the key in {KEY_VARIABLE}")]
    Cluster(#[from] InvalidCluster),
    #[error("a shop in memory keeps no catalogue in a cluster; name a file with --store")]
    ClusterOfMemory,
    #[error(transparent)]
    Derived(#[from] NotDerived),
    #[error("cannot open what is derived, in a file beside the shop")]
    Open(#[from] OpenError),
    #[error("cannot write to stdout")]
    Write(#[from] io::Error),
}

/// A shop, and where what is derived from it goes.
pub(crate) struct Deriving<'a> {
    pub(crate) shop: &'a Shop,
    pub(crate) store: &'a Location,
    pub(crate) elasticsearch: Option<String>,
}

impl Deriving<'_> {
    /// Begins to follow the log.
    pub(crate) fn start(&self, pace: Pace) -> Result<Derived, Underived> {
        match (self.store, self.cluster()?) {
            (Location::Memory, None) => Ok(Derived::in_memory(self.shop)),
            (Location::Memory, Some(_)) => Err(Underived::ClusterOfMemory),
            (Location::Sqlite(path), cluster) => {
                Ok(Derived::in_file(self.shop, path, cluster, pace)?)
            }
        }
    }

    fn cluster(&self) -> Result<Option<Elasticsearch>, InvalidCluster> {
        let Some(url) = &self.elasticsearch else { return Ok(None) };
        let mut options = ElasticsearchOptions::new(url);
        if let Ok(key) = env::var(KEY_VARIABLE) {
            options = options.credentials(Credentials::api_key(key)?);
        }
        Elasticsearch::new(options).map(Some)
    }

    /// Applies what came since the last time, and lists all balances.
    pub(crate) async fn list_balances(&self) -> Result<(), Underived> {
        let derived = self.start(Pace::default())?;
        let listed = list(&derived).await;
        derived.stop().await;
        listed
    }

    /// Makes a part anew.
    pub(crate) async fn rebuild(&self, anew: Anew) -> Result<(), Underived> {
        let Anew { part, after, partitions, pace } = anew;
        let (part, name) = match part {
            Rebuilt::Balances => (Part::Balances, "balances"),
            Rebuilt::Products => (Part::Products, "products"),
        };
        let mut rebuild = Rebuild::new();
        if let Some(after) = after {
            rebuild = rebuild.after(Position::new(after));
        }
        if let Some(count) = partitions {
            rebuild = rebuild.partitions(count);
        }
        let pace = pace.map_or_else(Pace::default, Pace::events_per_second);
        let derived = self.start(pace)?;
        let rebuilt = derived.rebuild(part, rebuild, tell).await;
        derived.stop().await;
        rebuilt?;
        writeln!(io::stdout(), "the {name} are rebuilt")?;
        Ok(())
    }
}

async fn list(derived: &Derived) -> Result<(), Underived> {
    derived.catch_up(Part::Balances).await?;
    let mut behind = None;
    loop {
        let rows = derived.balances(behind.as_deref(), LISTED_AT_ONCE, None).await?;
        for (account, balance) in &rows {
            writeln!(io::stdout(), "{balance:>12}  {account}")?;
        }
        match rows.last() {
            Some((last, _)) => behind = Some(last.as_str().to_owned()),
            None => return Ok(()),
        }
    }
}

fn tell(progress: &GenerationProgress) {
    let (done, rate) = (progress.done * 100.0, progress.events_per_second);
    let left = progress
        .remaining
        .map_or(String::new(), |left| format!(", about {} s left", left.as_secs_f64().ceil()));
    note(&format!("rebuilt {done:.0} %, {rate:.0} events/s{left}"));
}
