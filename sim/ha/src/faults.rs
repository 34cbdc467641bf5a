//! What happens to the cluster: one fault after the other, each until the cluster is whole again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use rustix::process::{Pid, Signal};
use serde_json::json;
use sqlx_core::query_scalar::query_scalar;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, DEADLINE, describe};
use crate::load::{Door, Load};
use crate::log::Log;
use crate::node::TTL_SECONDS;
use crate::{processes, rest};

/// Something that goes wrong, or a plan that interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// The leader's machine is gone: every process on it is killed, and it comes back later.
    Kill,
    /// A planned switchover.
    Switchover,
    /// As `kill`, but of a node that follows.
    Standby,
    /// The leader's machine hangs for longer than its key is valid, and then goes on.
    Pause,
    /// One of the leader's backends is killed: PostgreSQL ends all sessions and recovers.
    Backend,
    /// The leader's PostgreSQL is stopped at once, and Patroni starts it again.
    Immediate,
    /// As `pause`, but it goes on as soon as there is a new leader.
    Wake,
    /// Only the leader's Patroni hangs, and its PostgreSQL goes on.
    Patroni,
}

impl Fault {
    /// What Patroni promises to survive without a watchdog.
    pub(crate) const USUAL: [Self; 6] =
        [Self::Kill, Self::Switchover, Self::Standby, Self::Pause, Self::Backend, Self::Immediate];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL of the leader's whole node",
            Self::Switchover => "planned switchover",
            Self::Standby => "SIGKILL of a standby's whole node",
            Self::Pause => "SIGSTOP of the leader's whole node, beyond its key's life",
            Self::Backend => "SIGKILL of one backend of the leader",
            Self::Immediate => "immediate stop of the leader's PostgreSQL",
            Self::Wake => "SIGSTOP of the leader's whole node, until there is another leader",
            Self::Patroni => "SIGSTOP of the leader's Patroni only",
        }
    }

    /// Whether writes are out for longer than the impatient repeat by themselves, so that some
    /// outcomes must be unknown to them.
    pub(crate) fn takes_the_leader(self) -> bool {
        matches!(self, Self::Kill | Self::Pause)
    }

    /// Lets it happen, and returns when appends go on and the cluster is whole again.
    pub(crate) async fn happen(self, cluster: &mut Cluster, load: &Load, log: Log) -> Result<()> {
        let leader = cluster.leader().await.context("there is no leader to begin with")?;
        match self {
            Self::Kill => kill(cluster, leader, log).await?,
            Self::Switchover => switchover(cluster, leader, log).await?,
            Self::Standby => kill_standby(cluster, leader, log).await?,
            Self::Pause | Self::Wake => self.pause(cluster, load, leader, log).await?,
            Self::Backend => backend(cluster, leader, log).await?,
            Self::Immediate => {
                cluster.nodes[leader].crash_postgres(&cluster.postgres)?;
                log.say(format!("PostgreSQL of {} is stopped", cluster.nodes[leader].name));
            }
            Self::Patroni => self.pause_patroni(cluster, load, leader, log).await?,
        }
        load.goes_on().await?;
        log.say("appends are acknowledged again");
        cluster.start_the_dead()?;
        cluster.wait_until_whole().await?;
        load.goes_on().await
    }

    /// What the old leader acknowledges when it wakes must not be lost: clients that know no
    /// other node wait for it.
    async fn pause(
        self,
        cluster: &mut Cluster,
        load: &Load,
        leader: usize,
        log: Log,
    ) -> Result<()> {
        let stubborn = load.stubborn(cluster.nodes[leader].sql, 100).await?;
        let stopped = Instant::now();
        let processes = cluster.nodes[leader].pause().await?;
        let name = cluster.nodes[leader].name.clone();
        log.say(format!("{processes} processes of {name} stand still"));
        let next = cluster.other_leader(leader).await?;
        log.say(format!("{} is the leader", cluster.nodes[next].name));
        if self == Self::Pause {
            wait_for_followers_of(cluster, next, leader).await?;
            tokio::time::sleep_until(stopped + Duration::from_secs(TTL_SECONDS + 10)).await;
        }
        cluster.nodes[leader].resume()?;
        let seconds = stopped.elapsed().as_secs_f64();
        log.say(format!("{name} goes on after {seconds:.1} s, with clients that know only it"));
        cluster.wait_until_whole().await?;
        stubborn.stop().await
    }

    async fn pause_patroni(
        self,
        cluster: &mut Cluster,
        load: &Load,
        leader: usize,
        log: Log,
    ) -> Result<()> {
        let stubborn = load.stubborn(cluster.nodes[leader].sql, 100).await?;
        cluster.nodes[leader].signal_patroni(Signal::STOP)?;
        log.say(format!("Patroni of {} stands still", cluster.nodes[leader].name));
        let next = cluster.other_leader(leader).await?;
        log.say(format!("{} is the leader", cluster.nodes[next].name));
        wait_for_followers_of(cluster, next, leader).await?;
        cluster.nodes[leader].signal_patroni(Signal::CONT)?;
        log.say("it goes on");
        cluster.wait_until_whole().await?;
        stubborn.stop().await
    }
}

async fn kill(cluster: &mut Cluster, leader: usize, log: Log) -> Result<()> {
    let killed = cluster.nodes[leader].kill().await?;
    log.say(format!("{killed} processes of {} are killed", cluster.nodes[leader].name));
    let next = cluster.other_leader(leader).await?;
    log.say(format!("{} is the leader", cluster.nodes[next].name));
    Ok(())
}

/// It stays away until the others have noticed and go on without it.
async fn kill_standby(cluster: &mut Cluster, leader: usize, log: Log) -> Result<()> {
    let standby = (leader + 1) % cluster.nodes.len();
    let killed = cluster.nodes[standby].kill().await?;
    let name = &cluster.nodes[standby].name;
    log.say(format!("{killed} processes of {name} are killed"));
    let deadline = Instant::now() + DEADLINE;
    loop {
        let members = rest::members(cluster.nodes[leader].rest).await.unwrap_or_default();
        if !members.is_empty() && !members.iter().any(|m| m.name == *name && m.follows()) {
            log.say(describe(&members));
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nobody notices that {name} is gone");
        sleep(Duration::from_millis(200)).await;
    }
}

async fn switchover(cluster: &mut Cluster, leader: usize, log: Log) -> Result<()> {
    let node = &cluster.nodes[leader];
    let wish = json!({ "leader": node.name });
    let answer = rest::request(node.rest, "POST", "/switchover", Some(&wish), DEADLINE).await?;
    ensure!(answer.status == 200, "no switchover: {} {}", answer.status, answer.body);
    log.say(answer.body.trim());
    let next = cluster.other_leader(leader).await?;
    log.say(format!("{} is the leader", cluster.nodes[next].name));
    Ok(())
}

async fn backend(cluster: &mut Cluster, leader: usize, log: Log) -> Result<()> {
    let node = &cluster.nodes[leader];
    let administrator = Door::at(node.sql).pool("postgres");
    let find = "SELECT pid FROM pg_stat_activity WHERE application_name = 'annals' \
                ORDER BY state = 'active' DESC LIMIT 1";
    let pid: i32 = query_scalar(find).fetch_one(&administrator).await?;
    let pid = Pid::from_raw(pid).context("a backend without a process id")?;
    processes::send(pid, Signal::KILL)?;
    log.say(format!("process {} of {} is killed", pid.as_raw_nonzero(), node.name));
    Ok(())
}

/// Waits until the remaining node follows the new leader.
async fn wait_for_followers_of(cluster: &Cluster, next: usize, old: usize) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let members = rest::members(cluster.nodes[next].rest).await.unwrap_or_default();
        let old = &cluster.nodes[old].name;
        if members.iter().any(|member| member.name != *old && member.follows()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nobody follows the new leader");
        sleep(Duration::from_millis(200)).await;
    }
}
