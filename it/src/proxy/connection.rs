//! One connection through a link, and what becomes of it when the link's mode changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Mode;
use super::link::Shared;
use super::pump::{self, Hold};

/// Serves until either side ends it or the mode does.
pub(super) async fn serve(mut client: TcpStream, number: u64, shared: Arc<Shared>) {
    let mut mode = shared.mode.subscribe();
    let first = *mode.borrow_and_update();
    match first {
        Mode::Pass | Mode::Slow { .. } | Mode::Bandwidth { .. } => {}
        Mode::Cut => return ended(&shared),
        Mode::Reset => return reset(&client, &shared),
        Mode::HalfOpen => {
            swallow(&mut client, &mut mode, &shared).await;
            return reset(&client, &shared);
        }
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", shared.target)).await else { return reset(&client, &shared) };
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let with_reset = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let hold = Hold::default();
        // either direction ending closes both
        let pumps = async {
            tokio::select! {
                () = pump::requests(&mut from_client, &mut to_server, number, &shared, &hold) => {}
                () = pump::answers(&mut from_server, &mut to_client, number, &shared, &hold) => {}
            }
        };
        tokio::select! {
            () = pumps => false,
            with_reset = until_it_ends(&mut mode, first) => {
                ended(&shared);
                with_reset
            }
        }
    };
    if with_reset {
        // a socket that is gone already needs no reset
        drop(client.set_zero_linger().and_then(|()| server.set_zero_linger()));
    }
}

fn ended(shared: &Shared) {
    shared.seen.ended.fetch_add(1, Ordering::Relaxed);
}

fn reset(client: &TcpStream, shared: &Shared) {
    ended(shared);
    drop(client.set_zero_linger());
}

/// Returns when the mode ends the connection; whether by a reset. One that was half open has lost bytes.
async fn until_it_ends(mode: &mut watch::Receiver<Mode>, mut before: Mode) -> bool {
    loop {
        if mode.changed().await.is_err() {
            return false;
        }
        let now = *mode.borrow_and_update();
        match now {
            Mode::Cut => return false,
            Mode::Reset => return true,
            Mode::Pass | Mode::Slow { .. } | Mode::Bandwidth { .. } if before == Mode::HalfOpen => return true,
            Mode::Pass | Mode::Slow { .. } | Mode::Bandwidth { .. } | Mode::HalfOpen => before = now,
        }
    }
}

/// Takes a new client's bytes and answers nothing, until the link is no longer half open.
async fn swallow(client: &mut TcpStream, mode: &mut watch::Receiver<Mode>, shared: &Shared) {
    let mut piece = [0; 4096];
    loop {
        tokio::select! {
            read = client.read(&mut piece) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    shared.seen.harmed.fetch_add(1, Ordering::Relaxed);
                }
            },
            changed = mode.changed() => if changed.is_err() || *mode.borrow_and_update() != Mode::HalfOpen { return },
        }
    }
}
