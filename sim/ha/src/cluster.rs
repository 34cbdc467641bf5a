//! Three nodes and an etcd, all in one temporary folder, and a shell that ends them.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use crate::Args;
use crate::account::Account;
use crate::log::Log;
use crate::node::{Node, Surroundings};
use crate::processes;
use crate::rest::{self, Member};

const NODES: u8 = 3;
const KEEPER: &str = include_str!("keeper.sh");
/// Generous: others may use the machine too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) folder: PathBuf,
    pub(crate) postgres: PathBuf,
    log: Log,
    account: Account,
    etcd: Etcd,
    keeper: Child,
}

struct Etcd {
    program: PathBuf,
    client: SocketAddr,
    peer: SocketAddr,
    child: Option<Child>,
}

impl Cluster {
    /// Writes down what the nodes need; nothing runs yet but the keeper.
    pub(crate) fn new(args: &Args, log: Log) -> Result<Self> {
        let account = Account::find()?;
        let folder = tempfile::Builder::new().prefix("annals-ha-").tempdir()?.keep();
        account.own(&folder)?;
        let keeper = keeper(&folder)?;
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let [client, peer] = free_ports(here)?;
        let etcd = Etcd { program: args.etcd.clone(), client, peer, child: None };
        let surroundings = Surroundings {
            account,
            patroni: &args.patroni,
            postgres: &args.postgres,
            etcd: client,
            folder: &folder,
        };
        let node = |number| {
            let [sql, rest] = free_ports(Node::address(number))?;
            Node::new(&surroundings, number, sql, rest)
        };
        let nodes = (1..=NODES).map(node).collect::<Result<Vec<_>>>()?;
        let postgres = args.postgres.clone();
        log.say(format!("everything is in {}", folder.display()));
        Ok(Self { nodes, folder, postgres, log, account, etcd, keeper })
    }

    /// Starts etcd and the nodes, and waits until two of them follow the third.
    pub(crate) async fn start(&mut self) -> Result<()> {
        self.start_etcd()?;
        self.log.say(format!("etcd at {}", self.etcd.client));
        for node in &mut self.nodes {
            node.start()?;
            self.log.say(format!(
                "{}: Patroni at {}, PostgreSQL at {}",
                node.name, node.rest, node.sql
            ));
        }
        self.wait_until_whole().await
    }

    fn start_etcd(&mut self) -> Result<()> {
        let Etcd { program, client, peer, child } = &mut self.etcd;
        let folder = self.folder.join("etcd");
        fs::create_dir(&folder)?;
        self.account.own(&folder)?;
        let log = File::create(self.folder.join("etcd.log"))?;
        let mut etcd = self.account.command(program, &folder);
        etcd.args(["--name", "etcd", "--data-dir", "data", "--logger", "zap"]);
        etcd.arg(format!("--listen-client-urls=http://{client}"));
        etcd.arg(format!("--advertise-client-urls=http://{client}"));
        etcd.arg(format!("--listen-peer-urls=http://{peer}"));
        etcd.arg(format!("--initial-advertise-peer-urls=http://{peer}"));
        etcd.arg(format!("--initial-cluster=etcd=http://{peer}"));
        etcd.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        *child = Some(etcd.spawn().context("starting etcd")?);
        Ok(())
    }

    /// What the cluster knows of itself, as the first node says that answers.
    pub(crate) async fn members(&self) -> Vec<Member> {
        for node in &self.nodes {
            if let Ok(members) = rest::members(node.rest).await {
                return members;
            }
        }
        Vec::new()
    }

    /// The node that holds the leader's key and says so itself.
    pub(crate) async fn leader(&self) -> Option<usize> {
        for (place, node) in self.nodes.iter().enumerate() {
            if rest::is_primary(node.rest, Duration::from_secs(2)).await {
                return Some(place);
            }
        }
        None
    }

    /// Waits for a leader that is not the node at this place.
    pub(crate) async fn other_leader(&mut self, than: usize) -> Result<usize> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            for (place, node) in self.nodes.iter().enumerate().filter(|(place, _)| *place != than) {
                if rest::is_primary(node.rest, Duration::from_secs(2)).await {
                    return Ok(place);
                }
            }
            self.give_up_after(deadline, "no other node becomes the leader")?;
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Waits until one node leads and all others follow it, and may acknowledge what it writes.
    pub(crate) async fn wait_until_whole(&mut self) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let members = self.members().await;
            let leaders = members.iter().filter(|member| member.leads()).count();
            let followers = members.iter().filter(|member| member.follows()).count();
            if leaders == 1 && followers + 1 == self.nodes.len() {
                self.log.say(describe(&members));
                return Ok(());
            }
            let state = describe(&members);
            self.give_up_after(deadline, &format!("the cluster does not become whole: {state}"))?;
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Starts every node that does not run.
    pub(crate) fn start_the_dead(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if !node.is_alive() {
                node.start()?;
                self.log.say(format!("{} is started again", node.name));
            }
        }
        Ok(())
    }

    fn give_up_after(&self, deadline: Instant, what: &str) -> Result<()> {
        if Instant::now() < deadline {
            return Ok(());
        }
        for node in &self.nodes {
            self.log.say(format!("{} said last:\n{}", node.name, node.last_words()));
        }
        bail!("{what}, after {} s", DEADLINE.as_secs())
    }

    /// Ends every process and removes everything, except the logs when they are to stay.
    pub(crate) async fn end(mut self, keep: bool) -> Result<()> {
        if keep {
            File::create(self.folder.join("keep"))?;
            self.log.say(format!("the logs stay in {}", self.folder.display()));
        }
        processes::kill(&self.folder).await?;
        drop(self.keeper.stdin.take());
        let children = self.nodes.iter_mut().filter_map(Node::take_child);
        for mut child in children.chain(self.etcd.child.take()) {
            child.wait()?;
        }
        self.keeper.wait()?;
        Ok(())
    }
}

/// The shell that ends what runs in the folder once this process is gone, however it ends.
fn keeper(folder: &Path) -> Result<Child> {
    let mut shell = Command::new("sh");
    shell.args(["-c", KEEPER, "keeper"]).arg(folder).current_dir("/").process_group(0);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().context("starting sh")
}

/// Two ports that nobody has at the moment.
fn free_ports(address: IpAddr) -> Result<[SocketAddr; 2]> {
    let sockets = [TcpListener::bind((address, 0))?, TcpListener::bind((address, 0))?];
    Ok([sockets[0].local_addr()?, sockets[1].local_addr()?])
}

pub(crate) fn describe(members: &[Member]) -> String {
    if members.is_empty() {
        return "no node answers".to_owned();
    }
    members.iter().map(Member::to_string).collect::<Vec<_>>().join(", ")
}
