//! The tracker: its log, what is derived from it, and what runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use annals::inbox::{Retries, StartError};
use annals::sqlite::OpenError;
use annals::{
    Annals, DeliveryQueue, ExecuteError, Fault, Inboxes, LoadError, Position, ReadModel,
    RecordError, RunningInboxes, RunningProjection, SqliteReadSide, SqliteStore,
};
use annals_feed::{Descriptions, Feed, FeedDefinition};
use annals_rules::Rules;
use annals_webhooks::{
    FileSecrets, NoAuthorities, Reach, RunningWebhooks, WebhookOptions, Webhooks,
};
use jiff::tz::TimeZone;
use tokio::sync::{RwLock, watch};
use url::Url;

use crate::inboxes::{self, Chat, ExternalSync, Mail, Outgoing, Secluded};
use crate::issue::{CATEGORY, Issue, IssueCommand, IssueEvent, IssueRefusal};
use crate::person::{Person, PersonCommand, PersonRefusal, is_id};
use crate::read_models::{Issues, People};

/// How long the same person looks at the same issue before it is another view.
const VIEW: Duration = Duration::from_secs(5 * 60);
/// How long a page waits for what was just done to be in it.
const WRITE_PATIENCE: Duration = Duration::from_secs(3);

/// Where a tracker is, and whom it tells what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where its files are; it must exist.
    pub directory: PathBuf,
    /// The mail server, on this machine; without it no mail is sent.
    pub smtp: Option<SocketAddr>,
    /// The incoming webhook of a room; without it nothing is told there.
    pub chat: Option<Secluded>,
    /// The service that keeps a copy; without it nothing is sent.
    pub sync: Option<Url>,
    /// Whether webhooks may lead to this machine: for trials.
    pub loopback_webhooks: bool,
    /// In which days and hours are shown.
    pub zone: TimeZone,
    /// How often mail, chat and the other service are tried.
    pub retries: Retries,
    /// After how long another process takes over from one that died.
    pub lease: Duration,
}

impl Settings {
    /// A tracker in this directory that tells nobody anything.
    #[must_use]
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            smtp: None,
            chat: None,
            sync: None,
            loopback_webhooks: false,
            zone: TimeZone::UTC,
            retries: Retries::default().longest(Duration::from_secs(600)),
            lease: Duration::from_secs(5),
        }
    }
}

/// Why a tracker does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotOpened {
    /// Its files cannot be opened.
    #[error("cannot open the files in {0}")]
    Files(PathBuf, #[source] OpenError),
    /// Its inboxes cannot start.
    #[error("cannot start the inboxes")]
    Inboxes(#[from] StartError),
    /// Its rules cannot be applied.
    #[error(transparent)]
    Rules(#[from] Fault),
    /// Webhooks cannot be sent.
    #[error(transparent)]
    Webhooks(#[from] NoAuthorities),
    /// Nothing can be sent to other services.
    #[error(transparent)]
    Outgoing(#[from] inboxes::NoAuthorities),
}

/// The tracker, running. Cheap to clone; [`close`](Self::close) ends it.
#[derive(Clone, Debug)]
pub struct Tracker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    annals: Annals,
    store: SqliteStore,
    read_side: SqliteReadSide,
    feed: Feed,
    descriptions: Descriptions,
    issues: ReadModel<Issues>,
    people: ReadModel<People>,
    inboxes: Inboxes,
    rules: Rules,
    webhooks: Webhooks,
    zone: TimeZone,
    running: RwLock<Option<Running>>,
    /// Becomes true when pages that never end have to.
    stopping: watch::Sender<bool>,
}

#[derive(Debug)]
struct Running {
    issues: RunningProjection,
    people: RunningProjection,
    feed: RunningProjection,
    inboxes: RunningInboxes,
    webhooks: RunningWebhooks,
}

impl Tracker {
    /// Opens the tracker in a directory, and runs everything there is to run. Other processes may
    /// run it as well.
    ///
    /// # Errors
    /// [`NotOpened`]; nothing runs then.
    pub async fn open(settings: Settings) -> Result<Self, NotOpened> {
        let directory = &settings.directory;
        let unopened = |error| NotOpened::Files(directory.clone(), error);
        let store = SqliteStore::open(directory.join("log.db")).map_err(unopened)?;
        let derived = directory.join("derived.db");
        let read_side = SqliteReadSide::open(&derived).map_err(unopened)?;
        let annals = Annals::new(store.clone());

        let issues = ReadModel::new(Issues, read_side.clone());
        let people = ReadModel::new(People, read_side.clone());
        let category = CATEGORY.parse().expect("it names a category");
        let definition = FeedDefinition::new("activity").category(category);
        let feed = Feed::in_sqlite(definition, &read_side, derived);
        let rules = inboxes::rules(&annals, issues.clone(), people.clone())?;
        let webhooks = webhooks(&settings, annals.clone())?;

        let queue: Arc<dyn DeliveryQueue> = Arc::new(read_side.clone());
        let running = Running {
            inboxes: run_inboxes(&settings, &annals, Arc::clone(&queue), &rules).await?,
            webhooks: webhooks.start(queue).await?,
            issues: annals.project(issues.clone()).lease(settings.lease).start(),
            people: annals.project(people.clone()).lease(settings.lease).start(),
            feed: annals.project(feed.projector()).lease(settings.lease).start(),
        };
        Ok(Self(Arc::new(Inner {
            inboxes: (*running.inboxes).clone(),
            running: RwLock::new(Some(running)),
            descriptions: descriptions(),
            zone: settings.zone,
            stopping: watch::channel(false).0,
            annals,
            store,
            read_side,
            feed,
            issues,
            people,
            rules,
            webhooks,
        })))
    }

    /// Its log.
    #[must_use]
    pub fn annals(&self) -> &Annals {
        &self.0.annals
    }

    /// What happened to its issues.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// What happened, in words.
    #[must_use]
    pub fn descriptions(&self) -> &Descriptions {
        &self.0.descriptions
    }

    /// Its issues, as rows.
    #[must_use]
    pub fn issues(&self) -> &ReadModel<Issues> {
        &self.0.issues
    }

    /// Its people, as rows.
    #[must_use]
    pub fn people(&self) -> &ReadModel<People> {
        &self.0.people
    }

    /// Its inboxes.
    #[must_use]
    pub fn inboxes(&self) -> &Inboxes {
        &self.0.inboxes
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Its webhooks.
    #[must_use]
    pub fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    /// In which days and hours are shown unless somebody asks for another.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.0.zone
    }

    /// Executes a command on an issue, once for each key, and says where that is recorded.
    ///
    /// # Errors
    /// [`ExecuteError`]. Nothing was recorded unless that is not known.
    pub async fn change(
        &self,
        issue: &str,
        command: IssueCommand,
        key: &str,
    ) -> Result<Position, ExecuteError<IssueRefusal>> {
        if let IssueCommand::Assign { to } = &command
            && !has_joined(self.annals(), to).await?
        {
            return Err(ExecuteError::Refused(IssueRefusal::Nobody(to.clone())));
        }
        Ok(self.annals().execute::<Issue, _>(issue, command).id(key).await?.position)
    }

    /// Executes a command on a person.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub async fn change_person(
        &self,
        id: &str,
        command: PersonCommand,
    ) -> Result<Position, ExecuteError<PersonRefusal>> {
        Ok(self.annals().execute::<Person, _>(id, command).await?.position)
    }

    /// Records that somebody looks at an issue, unless they did a moment ago.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub async fn view(&self, issue: &str, who: &str) -> Result<(), RecordError> {
        let view = self.annals().record(IssueEvent::IssueViewed).on(format!("{CATEGORY}-{issue}"));
        view.by(who).throttle(VIEW, format!("viewer:{who}")).await?;
        Ok(())
    }

    /// Waits until pages show what is recorded up to a position. Whether they do: it gives up
    /// after some seconds.
    pub async fn shows(&self, position: Position) -> bool {
        let running = self.0.running.read().await;
        let Some(Running { issues, people, feed, .. }) = &*running else { return false };
        let (issues, people, feed) = tokio::join!(
            issues.wait_for(position, WRITE_PATIENCE),
            people.wait_for(position, WRITE_PATIENCE),
            feed.wait_for(position, WRITE_PATIENCE)
        );
        issues.and(people).and(feed).is_ok()
    }

    /// Completes when pages that never end have to.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.0.stopping.subscribe();
        async move {
            // It is gone, which is an end too.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// Ends the pages that never end.
    pub fn stop_pages(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Waits for what is under way, gives back what this process held, and closes the files.
    pub async fn close(&self) {
        self.stop_pages();
        if let Some(running) = self.0.running.write().await.take() {
            let Running { issues, people, feed, inboxes, webhooks } = running;
            tokio::join!(inboxes.stop(), webhooks.stop());
            tokio::join!(issues.stop(), people.stop(), feed.stop());
        }
        self.0.annals.settled().await;
        self.0.read_side.close().await;
        self.0.store.close().await;
    }
}

/// Whether there is somebody of this id.
pub(crate) async fn has_joined(annals: &Annals, id: &str) -> Result<bool, LoadError> {
    Ok(is_id(id) && annals.load::<Person>(id).await?.state.team.is_some())
}

async fn run_inboxes(
    settings: &Settings,
    annals: &Annals,
    queue: Arc<dyn DeliveryQueue>,
    rules: &Rules,
) -> Result<RunningInboxes, NotOpened> {
    let Settings { retries, smtp, chat, sync, .. } = settings;
    let outgoing = Outgoing::new()?;
    let mut inboxes = annals.inboxes(queue).lease(settings.lease).inbox(rules.inbox("rules"));
    if let Some(server) = smtp {
        inboxes = inboxes.inbox(Mail::by(*server, annals.clone()).inbox().retry(retries.clone()));
    }
    if let Some(room) = chat {
        let chat = Chat::to(room.clone(), outgoing.clone(), annals.clone());
        inboxes = inboxes.inbox(chat.inbox().retry(retries.clone()));
    }
    if let Some(service) = sync {
        let sync = ExternalSync::to(service.clone(), outgoing, annals.clone());
        inboxes = inboxes.inbox(sync.inbox().retry(retries.clone()));
    }
    Ok(inboxes.start().await?)
}

fn webhooks(settings: &Settings, annals: Annals) -> Result<Webhooks, NoAuthorities> {
    let reach = match settings.loopback_webhooks {
        true => Reach::public().allowing_loopback(),
        false => Reach::public(),
    };
    let secrets = FileSecrets::new(settings.directory.join("webhooks.json"));
    Webhooks::new(annals, secrets, WebhookOptions::default().reach(reach))
}

fn descriptions() -> Descriptions {
    Descriptions::new("en")
        .and_then(|none| none.add_resource("en", include_str!("descriptions/en.ftl")))
        .and_then(|english| english.add_resource("de", include_str!("descriptions/de.ftl")))
        .expect("the templates are tested")
        .without_isolation()
}
