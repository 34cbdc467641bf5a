//! Other event stores on the same server: one event an append, each caller to a stream of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use annals_bench_report::{median, ratios};
use annals_core::EventStore;
use annals_scratch::Database;
use tokio::process::Command;

use crate::Args;
use crate::drive::{Span, drive};
use crate::fact::Fact;
use crate::server::{Server, open};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Annals,
    PostgresEs,
    Python { recorder: &'static str, callers_are: &'static str },
}

const PEERS: [Peer; 6] = [
    Peer::Annals,
    Peer::PostgresEs,
    Peer::Python { recorder: "application", callers_are: "threads" },
    Peer::Python { recorder: "application", callers_are: "processes" },
    Peer::Python { recorder: "aggregate", callers_are: "threads" },
    Peer::Python { recorder: "aggregate", callers_are: "processes" },
];

impl Peer {
    fn name(self) -> String {
        match self {
            Self::Annals => "Annals".into(),
            Self::PostgresEs => "postgres-es".into(),
            Self::Python { recorder, callers_are } => {
                format!("eventsourcing, {recorder} recorder, {callers_are}")
            }
        }
    }
}

pub async fn measure(server: &Server, args: &Args) {
    let installed = Installed::prepare().await;
    let peers: Vec<Peer> = PEERS.into_iter().filter(|peer| installed.has(*peer)).collect();
    let mut table: Vec<Vec<String>> = peers.iter().map(|peer| vec![peer.name()]).collect();
    for &callers in &args.callers {
        let mut rates = vec![Vec::new(); peers.len()];
        for round in 0..args.rounds {
            for place in 0..peers.len() {
                let place = (place + round) % peers.len();
                let rate = installed.rate(server, peers[place], callers, args.span()).await;
                eprintln!(
                    "  round {}, {callers} callers, {:?}: {rate:.0}",
                    round + 1,
                    peers[place]
                );
                rates[place].push(rate);
            }
        }
        for (row, figures) in table.iter_mut().zip(&rates) {
            let ratio = median(&ratios(figures, &rates[0]));
            row.push(format!("{:.0} ({ratio:.2})", median(figures)));
        }
    }
    let callers = args.callers.iter().map(|callers| format!(" {callers} callers |"));
    println!("\n| appends/s (to Annals) |{}", callers.collect::<String>());
    println!("|---|{}", "---|".repeat(args.callers.len()));
    for row in table {
        println!("| {} |", row.join(" | "));
    }
}

/// Where the peers are that could be installed.
struct Installed {
    python: Option<PathBuf>,
    postgres_es: Option<PathBuf>,
}

impl Installed {
    /// Installs them below the build directory, unless they are there.
    async fn prepare() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = here.join("../target");
        let environment = target.join("eventsourcing");
        let python = environment.join("bin/python");
        let mut create = Command::new("python3");
        create.args(["-m", "venv"]).arg(&environment);
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--requirement"]);
        install.arg(here.join("requirements.txt"));
        let has_python = (python.exists() || runs(create).await) && runs(install).await;
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--quiet", "--locked", "--manifest-path"]);
        build.arg(here.join("postgres-es/Cargo.toml"));
        build.arg("--target-dir").arg(target.join("postgres-es"));
        let postgres_es = target.join("postgres-es/release/annals-bench-postgres-es");
        let has_postgres_es = runs(build).await;
        Self {
            python: has_python.then_some(python),
            postgres_es: has_postgres_es.then_some(postgres_es),
        }
    }

    fn has(&self, peer: Peer) -> bool {
        let there = match peer {
            Peer::Annals => true,
            Peer::PostgresEs => self.postgres_es.is_some(),
            Peer::Python { .. } => self.python.is_some(),
        };
        if !there {
            println!("{} could not be installed; left out", peer.name());
        }
        there
    }

    async fn rate(&self, server: &Server, peer: Peer, callers: u64, span: Span) -> f64 {
        let database = server.database().await;
        let (warm_up, seconds) = (span.warm_up.as_secs_f64(), span.time.as_secs_f64());
        match peer {
            Peer::Annals => annals(&database, callers, span).await,
            Peer::PostgresEs => {
                let program = self.postgres_es.as_ref().expect("it is installed");
                let mut command = Command::new(program);
                command.arg(database.url()).arg(callers.to_string());
                command.arg(warm_up.to_string()).arg(seconds.to_string());
                answer(command).await
            }
            Peer::Python { recorder, callers_are } => {
                let python = self.python.as_ref().expect("it is installed");
                let mut command = Command::new(python);
                let script = "eventsourcing_peer.py";
                command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
                command.args([recorder, callers_are]);
                command.arg(format!("--port={}", server.port()));
                command.arg(format!("--database={}", database.name()));
                command.arg(format!("--callers={callers}"));
                command.arg(format!("--warm-up={warm_up}"));
                command.arg(format!("--seconds={seconds}"));
                answer(command).await
            }
        }
    }
}

async fn annals(database: &Database, callers: u64, span: Span) -> f64 {
    let store = open(database).await;
    let appending = store.clone();
    let append = move |caller, turn| {
        let store = appending.clone();
        async move {
            let append = Fact::own(caller, turn).into_exact(turn);
            store.append(append).await.expect("the append succeeds");
        }
    };
    let rate = drive(callers, span, append).await;
    store.close().await;
    rate
}

async fn runs(mut command: Command) -> bool {
    match command.status().await {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{:?} does not run: {error}", command.as_std().get_program());
            false
        }
    }
}

/// The number that a peer prints last.
async fn answer(mut command: Command) -> f64 {
    let output = command.stderr(Stdio::inherit()).output().await.expect("the peer runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.lines().last().and_then(|line| line.trim().parse().ok());
    assert!(output.status.success(), "the peer fails: {text}");
    number.expect("a peer prints its rate last")
}
