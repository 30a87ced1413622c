//! The run's own processes: started, frozen, killed and started anew, by their ids and by nothing broader. All of them are
//! ended when the run ends, in whatever way: by their stdin, by signal, and by drop.

mod process;

use std::{
    fs::{File, OpenOptions},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use self::process::Process;
use super::part::READY;
use crate::cli::Failure;

/// How long the server may take from its start to its first word: it rebuilds what is open.
const START: Duration = Duration::from_secs(30);
/// How often a start is tried before the run gives up: the port may be held for a moment by what was killed.
const TRIES: u32 = 5;
const AGAIN: Duration = Duration::from_millis(200);

/// Where a run leaves what it leaves behind.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The database.
    pub(super) data: PathBuf,
    /// Side effects, a file for each life of a worker.
    pub(super) world: PathBuf,
    /// What the processes wrote to stderr.
    pub(super) logs: PathBuf,
}

impl Place {
    /// A fresh folder among the system's temporary ones.
    pub(super) fn new(run: &str) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("bailiwick-chaos-{run}"));
        let (world, logs) = (folder.join("world"), folder.join("logs"));
        for path in [&world, &logs] {
            std::fs::create_dir_all(path)
                .map_err(|error| Failure::from(format!("{} cannot be made: {error}", path.display())))?;
        }
        Ok(Self { data: folder.join("bailiwick.db"), world, logs })
    }
}

/// One worker of the crew, through all its lives.
struct Member {
    name: String,
    lives: u32,
    process: Process,
}

/// The server and the workers.
pub(super) struct Fleet {
    place: Place,
    addr: SocketAddr,
    slots: u16,
    server: Process,
    members: Vec<Member>,
}

impl Fleet {
    /// Starts the server and this many workers.
    pub(super) async fn start(place: Place, workers: usize, slots: u16) -> Result<Self, Failure> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (server, addr) = start_server(&place, listen).await?;
        let mut fleet = Self { place, addr, slots, server, members: Vec::new() };
        for number in 1..=workers {
            let name = format!("chaos-{number}");
            let process = fleet.spawn_worker(&name, &name)?;
            fleet.members.push(Member { name, lives: 1, process });
        }
        Ok(fleet)
    }

    /// Where the server listens, in every life.
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.members.len()
    }

    /// The id of a worker, in its present life; empty where there is no such worker.
    pub(super) fn name(&self, index: usize) -> String {
        self.members.get(index).map(|member| member.name.clone()).unwrap_or_default()
    }

    /// Kills the server (SIGKILL), as a crash would.
    pub(super) async fn kill_server(&mut self) -> Result<(), Failure> {
        self.server.kill().await.map_err(|error| cannot("the server", "killed", &error))
    }

    /// Freezes the server (SIGSTOP): its connections stay, and nothing answers on them.
    pub(super) fn freeze_server(&mut self) -> Result<(), Failure> {
        self.server.freeze().map_err(|error| cannot("the server", "frozen", &error))
    }

    /// Wakes the server (SIGCONT): it goes on as if nothing had been, at another time.
    pub(super) fn thaw_server(&mut self) -> Result<(), Failure> {
        self.server.thaw().map_err(|error| cannot("the server", "woken", &error))
    }

    /// Freezes a worker, with all it has under way.
    pub(super) fn freeze_worker(&mut self, index: usize) -> Result<(), Failure> {
        let Some(member) = self.members.get_mut(index) else { return Ok(()) };
        member.process.freeze().map_err(|error| cannot(&member.name, "frozen", &error))
    }

    /// Wakes a worker. It believes in the leases it had.
    pub(super) fn thaw_worker(&mut self, index: usize) -> Result<(), Failure> {
        let Some(member) = self.members.get_mut(index) else { return Ok(()) };
        member.process.thaw().map_err(|error| cannot(&member.name, "woken", &error))
    }

    /// Starts the server again, on its port and its database.
    pub(super) async fn start_server(&mut self) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            match start_server(&self.place, self.addr).await {
                Ok((server, _)) => {
                    self.server = server;
                    return Ok(());
                }
                Err(failure) if tries >= TRIES => return Err(failure),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Wakes whatever is frozen, and starts whatever was killed and not started anew.
    pub(super) async fn make_whole(&mut self) -> Result<(), Failure> {
        self.thaw_server()?;
        if !self.server.runs() {
            self.start_server().await?;
        }
        for index in 0..self.members.len() {
            self.thaw_worker(index)?;
            if self.members.get_mut(index).is_some_and(|member| !member.process.runs()) {
                self.replace_worker(index).await?;
            }
        }
        Ok(())
    }

    /// Kills a worker (SIGKILL) and starts it anew: under its id without its leases, or, every second life, under another id,
    /// so that its leases lapse.
    pub(super) async fn replace_worker(&mut self, index: usize) -> Result<(), Failure> {
        let Some(member) = self.members.get_mut(index) else { return Ok(()) };
        let name = member.name.clone();
        member.process.kill().await.map_err(|error| cannot(&name, "killed", &error))?;
        member.lives += 1;
        let lives = member.lives;
        let stem: String = name.split('.').next().unwrap_or_default().to_owned();
        let next = if lives.is_multiple_of(2) { name.clone() } else { format!("{stem}.{lives}") };
        let process = self.spawn_worker(&next, &format!("{stem}.{lives}"))?;
        if let Some(member) = self.members.get_mut(index) {
            (member.name, member.process) = (next, process);
        }
        Ok(())
    }

    fn spawn_worker(&self, id: &str, log: &str) -> Result<Process, Failure> {
        let mut command = this_binary("worker")?;
        command.args(["--addr", &self.addr.to_string(), "--id", id, "--slots", &self.slots.to_string()]);
        command.arg("--world").arg(&self.place.world).stdout(Stdio::null());
        spawn(command, &self.place, log)
    }

    /// Ends every process: workers first, so that they can say their last words.
    pub(super) async fn end(self) {
        let Self { mut server, members, .. } = self;
        // A frozen server hears nothing of them. Fails only where it has just ended.
        let _ = server.thaw();
        let mut processes: Vec<Process> = members.into_iter().map(|member| member.process).collect();
        processes.iter_mut().for_each(Process::tell);
        for process in &mut processes {
            process.wait().await;
        }
        server.tell();
        server.wait().await;
    }
}

fn cannot(who: &str, what: &str, error: &std::io::Error) -> Failure {
    Failure::from(format!("{who} cannot be {what}: {error}"))
}

/// Starts a server and waits for its first word.
async fn start_server(place: &Place, listen: SocketAddr) -> Result<(Process, SocketAddr), Failure> {
    let mut command = this_binary("server")?;
    command.arg("--listen").arg(listen.to_string()).arg("--data").arg(&place.data).stdout(Stdio::piped());
    let mut process = spawn(command, place, "server")?;
    let failed = || Failure::from(format!("the server did not start: see {}", place.logs.display()));
    let stdout = process.stdout().ok_or_else(failed)?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(START, lines.next_line()).await.map_err(|_| failed())?;
    let line = line.ok().flatten().ok_or_else(failed)?;
    let addr = line.strip_prefix(READY).and_then(|addr| addr.parse().ok()).ok_or_else(failed)?;
    Ok((process, addr))
}

/// `bailiwick chaos-part`, whatever this binary is called.
fn this_binary(part: &str) -> Result<Command, Failure> {
    let binary = std::env::current_exe()
        .map_err(|error| Failure::from(format!("this binary cannot be found again: {error}")))?;
    let mut command = Command::new(binary);
    command.args(["chaos-part", part]);
    Ok(command)
}

fn spawn(mut command: Command, place: &Place, log: &str) -> Result<Process, Failure> {
    let failed = |error: std::io::Error| Failure::from(format!("{log} cannot be started: {error}"));
    let log = log_file(&place.logs, log).map_err(failed)?;
    // A group of its own: Ctrl-C is the run's to handle.
    let command = command.stdin(Stdio::piped()).stderr(log).process_group(0).kill_on_drop(true);
    command.spawn().map(Process::new).map_err(failed)
}

fn log_file(folder: &Path, name: &str) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log")))
}
