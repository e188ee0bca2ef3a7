//! A proxy between the service and PostgreSQL that loses the answers to COMMITs of placements when told to.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How many COMMITs are still to lose their answer.
pub(crate) type ToLose = Arc<AtomicI32>;

/// Starts the proxy on a thread of its own, because tests' runtimes come and go; returns its port.
pub(crate) fn start(database_port: u16) -> (u16, ToLose) {
    let to_lose = ToLose::default();
    let lose = Arc::clone(&to_lose);
    let (tell, port) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, database_port)).await.unwrap();
                tokio::spawn(relay(client, server, Arc::clone(&lose)));
            }
        });
    });
    (port.recv().unwrap(), to_lose)
}

async fn relay(mut client: TcpStream, mut server: TcpStream, lose: ToLose) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let (mut placing, mut losing) = (false, false);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(1..) = read else { return };
                let bytes = &asked[..read.unwrap()];
                let says = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
                placing |= says(b"SET LOCAL lock_timeout");
                if says(b"COMMIT\0") {
                    losing = placing && lose.fetch_sub(1, Ordering::SeqCst) > 0;
                    placing = false;
                }
                if server.write_all(bytes).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(1..) = read else { return };
                // The COMMIT is done and nobody will hear of it.
                if losing { return }
                if client.write_all(&answered[..read.unwrap()]).await.is_err() { return }
            }
        }
    }
}
