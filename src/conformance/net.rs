//! The network between a worker and the scripted server: a relay that can be cut and closed. Never looks at the bytes.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What the relay does; every change cuts the connections there are.
#[derive(Clone, Copy)]
enum State {
    Open,
    Closed,
}

/// The relay. Dropping it closes everything.
pub(crate) struct Net {
    /// Where workers connect.
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Drop for Net {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Net {
    pub(crate) async fn start(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (state, changes) = watch::channel(State::Open);
        let task = tokio::spawn(relay(listener, server, changes));
        Ok(Self { address, state, task })
    }

    /// Cuts every connection; new ones are let through.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Open);
    }

    /// Cuts every connection and lets none through until [`Net::cut`].
    pub(crate) fn close(&self) {
        self.state.send_replace(State::Closed);
    }
}

async fn relay(listener: TcpListener, server: SocketAddr, mut state: watch::Receiver<State>) {
    // Its tasks are aborted when it is dropped, and with them their sockets.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
                connections.shutdown().await;
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let open = matches!(*state.borrow(), State::Open);
                if let (Ok((worker, _)), true) = (accepted, open) {
                    connections.spawn(carry(worker, server));
                }
            }
        }
    }
}

async fn carry(mut worker: TcpStream, server: SocketAddr) {
    let Ok(mut inner) = TcpStream::connect(server).await else { return };
    // Small messages must not wait for each other here: cases look at when things come.
    let _ = (worker.set_nodelay(true), inner.set_nodelay(true));
    // Either side may go at any time; the worker and the server each see the end for themselves.
    let _ = copy_bidirectional(&mut worker, &mut inner).await;
}
