//! `cargo bench --bench halt`: from `halt --all --cancel` to the last cancel on the wire, with 1,000 attempts that run over 20
//! sessions, on a database on disk. Prints every round and judges nothing. `--quick`: one round of 100.

mod measure;

use std::path::PathBuf;

use bailiwick::app::{AppOptions, StoreChoice};
use measure::{Measured, measure};

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, sessions, each) = if quick { (1, 10, 10) } else { (7, 20, 50) };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("halt-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    let threads = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("threads can be started")
    };
    let (server, client) = (threads(), threads());
    let options = AppOptions::on_loopback(StoreChoice::Sqlite(folder.join("bench.db")));
    let running = server.block_on(bailiwick::app::serve(options)).expect("the server starts");
    let uri = format!("http://{}", running.local_addr());
    println!("attempts  told      on streams  read by workers  answered, every task ended");
    for _ in 0..rounds {
        let Measured { attempts, told, handed, heard, answered } =
            client.block_on(measure(&uri, sessions, each));
        let ms = |time: std::time::Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        println!("{attempts:<9} {:<9} {:<11} {:<16} {}", ms(told), ms(handed), ms(heard), ms(answered));
    }
    server.block_on(running.shutdown());
    if std::fs::remove_dir_all(&folder).is_err() {
        eprintln!("the bench's data stays in {}", folder.display());
    }
}
