//! One node: a Patroni with its PostgreSQL, on a loopback address of its own.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

use crate::account::Account;
use crate::processes;

/// How long a leader's key is valid that nobody renews: as short as Patroni allows.
pub(crate) const TTL_SECONDS: u64 = 20;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// Where PostgreSQL listens.
    pub(crate) sql: SocketAddr,
    /// Where Patroni listens.
    pub(crate) rest: SocketAddr,
    account: Account,
    patroni: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// What a node is told of its surroundings.
pub(crate) struct Surroundings<'a> {
    pub(crate) account: Account,
    pub(crate) patroni: &'a Path,
    pub(crate) postgres: &'a Path,
    pub(crate) etcd: SocketAddr,
    /// Where all nodes have their folders and logs.
    pub(crate) folder: &'a Path,
}

impl Node {
    /// The address of the node with this number. A node that is down for a while must find its
    /// ports free again: nobody's outgoing connections come from there.
    pub(crate) fn address(number: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, 10 + number).into()
    }

    pub(crate) fn new(
        surroundings: &Surroundings<'_>,
        number: u8,
        sql: SocketAddr,
        rest: SocketAddr,
    ) -> Result<Self> {
        let name = format!("node{number}");
        let folder = surroundings.folder.join(&name);
        let Surroundings { account, patroni, .. } = *surroundings;
        fs::create_dir(&folder)?;
        account.own(&folder)?;
        let log = surroundings.folder.join(format!("{name}.log"));
        let node = Self {
            name,
            sql,
            rest,
            account,
            patroni: patroni.to_owned(),
            folder,
            log,
            child: None,
        };
        fs::write(node.folder.join("patroni.yml"), node.settings(surroundings))?;
        Ok(node)
    }

    /// What docs/high-availability.md explains.
    fn settings(&self, surroundings: &Surroundings<'_>) -> String {
        let Self { name, sql, rest, folder, .. } = self;
        let (etcd, folder) = (surroundings.etcd, folder.display());
        let postgres = surroundings.postgres.display();
        format!(
            "\
scope: annals
name: {name}
restapi:
  listen: {rest}
  connect_address: {rest}
etcd3:
  host: {etcd}
bootstrap:
  dcs:
    ttl: {TTL_SECONDS}
    loop_wait: 3
    retry_timeout: 3
    maximum_lag_on_failover: 1048576
    synchronous_mode: quorum
    synchronous_mode_strict: true
    synchronous_node_count: 1
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        synchronous_commit: 'on'
        wal_log_hints: 'on'
        hot_standby: 'on'
        max_connections: 200
        max_wal_senders: 10
        shared_buffers: 64MB
        wal_keep_size: 512MB
        wal_retrieve_retry_interval: 500ms
  initdb:
  - encoding: UTF8
  - locale: C.UTF-8
  - auth: trust
postgresql:
  listen: {sql}
  connect_address: {sql}
  data_dir: {folder}/data
  bin_dir: {postgres}
  pgpass: {folder}/pgpass
  parameters:
    unix_socket_directories: ''
  authentication:
    superuser:
      username: postgres
    replication:
      username: replicator
    rewind:
      username: rewinder
  pg_hba:
  - host all all 127.0.0.0/8 trust
  - host replication all 127.0.0.0/8 trust
watchdog:
  mode: 'off'
"
        )
    }

    /// Starts Patroni, which starts PostgreSQL.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = File::options().append(true).create(true).open(&self.log)?;
        let mut patroni = self.account.command(&self.patroni, &self.folder);
        patroni.arg("patroni.yml").env("PYTHONUNBUFFERED", "1");
        patroni.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(patroni.spawn().context("starting Patroni")?);
        Ok(())
    }

    /// Whether Patroni runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// For somebody else to wait for.
    pub(crate) fn take_child(&mut self) -> Option<Child> {
        self.child.take()
    }

    /// Kills Patroni, PostgreSQL and all its processes.
    pub(crate) async fn kill(&mut self) -> Result<usize> {
        let killed = processes::kill(&self.folder).await?;
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(killed)
    }

    pub(crate) async fn pause(&self) -> Result<usize> {
        processes::pause(&self.folder).await
    }

    pub(crate) fn resume(&self) -> Result<()> {
        processes::resume(&self.folder)
    }

    /// Makes only Patroni stand still, and PostgreSQL goes on.
    pub(crate) fn signal_patroni(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("Patroni does not run")?;
        processes::send(Pid::from_child(child), signal)
    }

    /// Stops PostgreSQL at once, as if it had crashed; Patroni finds it gone.
    pub(crate) fn crash_postgres(&self, postgres: &Path) -> Result<()> {
        let mut stop: Command = self.account.command(&postgres.join("pg_ctl"), &self.folder);
        stop.args(["stop", "-m", "immediate", "-W", "-s", "-D", "data"]);
        anyhow::ensure!(stop.status()?.success(), "pg_ctl failed");
        Ok(())
    }

    /// The last lines of what Patroni and PostgreSQL log.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}
