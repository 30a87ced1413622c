//! A TCP proxy that does what networks do: delays, cuts in the middle of anything, closes one direction only, and takes
//! connections without ever answering. Seeded; what falls on which connection hangs on the order they come in, too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

/// What has been done to connections.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) connections: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) half_closes: AtomicU64,
    pub(crate) delays: AtomicU64,
    pub(crate) silences: AtomicU64,
}

/// What happens to one connection, and after how many bytes of one direction.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Sound,
    Cut(usize),
    HalfClose(usize),
    Delay(Duration),
    Silent,
}

/// A proxy; faults stop when it is told to be sound.
pub(crate) struct Proxy {
    uri: String,
    pub(crate) done: Arc<Done>,
    sound: Arc<std::sync::atomic::AtomicBool>,
    _serving: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(target: String, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let uri = format!("http://{}", listener.local_addr().expect("bound"));
        let (done, sound) = (Arc::new(Done::default()), Arc::default());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, target, seed, Arc::clone(&done), Arc::clone(&sound)));
        Self { uri, done, sound, _serving: serving }
    }

    pub(crate) fn uri(&self) -> String {
        self.uri.clone()
    }

    /// From now on every new connection is left alone.
    pub(crate) fn be_sound(&self) {
        self.sound.store(true, Ordering::Release);
    }
}

fn next(dice: &mut u64, bound: u64) -> u64 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    *dice % bound
}

fn fate(dice: &mut u64) -> Fate {
    let bytes = usize::try_from(next(dice, 6_000)).unwrap_or(0);
    match next(dice, 10) {
        0 | 1 => Fate::Sound,
        2..=4 => Fate::Cut(bytes),
        5 | 6 => Fate::HalfClose(bytes),
        7 | 8 => Fate::Delay(Duration::from_millis(next(dice, 60))),
        _ => Fate::Silent,
    }
}

async fn serve(
    listener: TcpListener,
    target: String,
    seed: u64,
    done: Arc<Done>,
    sound: Arc<std::sync::atomic::AtomicBool>,
) {
    let mut dice = seed | 1;
    let mut open = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        done.connections.fetch_add(1, Ordering::Relaxed);
        let fate = if sound.load(Ordering::Acquire) { Fate::Sound } else { fate(&mut dice) };
        let (target, done) = (target.clone(), Arc::clone(&done));
        open.spawn(async move { connection(client, &target, fate, &done).await });
    }
}

async fn connection(client: TcpStream, target: &str, fate: Fate, done: &Done) {
    if let Fate::Silent = fate {
        done.silences.fetch_add(1, Ordering::Relaxed);
        // Held open for a while, never answered.
        tokio::time::sleep(Duration::from_millis(700)).await;
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pass(from_client, to_server, fate, done);
    let down = pass(from_server, to_client, fate, done);
    match fate {
        // Whichever direction ends first takes the other with it.
        Fate::Cut(_) | Fate::Sound | Fate::Delay(_) => tokio::select! { () = up => {}, () = down => {} },
        // One direction is closed; the other may go on for as long as anybody cares.
        Fate::HalfClose(_) | Fate::Silent => {
            let both = async { tokio::join!(up, down) };
            let _ = tokio::time::timeout(Duration::from_secs(2), both).await;
        }
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fate: Fate, done: &Done) {
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0_usize;
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let mut piece = read;
        match fate {
            Fate::Cut(after) | Fate::HalfClose(after) if passed + read > after => piece = after - passed,
            Fate::Delay(delay) => {
                done.delays.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(delay).await;
            }
            _ => {}
        }
        if to.write_all(&buffer[..piece]).await.is_err() {
            return;
        }
        passed += piece;
        if piece < read {
            let count = if let Fate::Cut(_) = fate { &done.cuts } else { &done.half_closes };
            count.fetch_add(1, Ordering::Relaxed);
            let _ = to.shutdown().await;
            return;
        }
    }
}
