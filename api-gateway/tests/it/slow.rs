//! Clients that are slow, silent, endless or many: they are cut, and the others do not notice.

use std::time::Duration;

use contract::Code;
use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{ORDER, World, problem};

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.gateway.http_addr()).await.unwrap()
}

/// How long it takes until the gateway closes the connection, whose client writes a byte of `text` each `pause` as long as it may.
async fn cut_after(world: &World, text: &str, pause: Duration) -> Duration {
    let began = Instant::now();
    let (mut reader, mut writer) = connect(world).await.into_split();
    let drip = async {
        for byte in text.bytes().cycle() {
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(pause).await;
        }
    };
    let closed = async {
        let mut buffer = [0; 4096];
        // A reset is as good as an end.
        while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        () = drip => {}
        () = closed => {}
    }
    began.elapsed()
}

/// The slowest of `count` requests, one after the other.
async fn slowest(world: &World, count: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..count {
        let began = Instant::now();
        assert_eq!(world.post("/v1/orders", ORDER).send().await.unwrap().status(), 200);
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[actix_web::test]
async fn heads_and_bodies_that_drip_are_cut_however_busy_they_look() {
    let world = World::with(|config| {
        config.header_timeout = Duration::from_millis(400);
        config.body_timeout = Duration::from_millis(400);
    });
    let pause = Duration::from_millis(20);
    let head = format!("POST /v1/orders HTTP/1.1\r\nHost: x\r\nX-Pad: {}", "a".repeat(10_000));
    let took = timeout(Duration::from_secs(10), cut_after(&world, &head, pause)).await.unwrap();
    assert!(took >= Duration::from_millis(350), "{took:?}");
    // The head at once, the body by drops.
    let mut stream = connect(&world).await;
    stream.write_all(b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nX-Customer-Id: c1\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n").await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let drip = async {
        while writer.write_all(b" ").await.is_ok() {
            sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = [0; 512];
    let read = tokio::select! {
        read = timeout(Duration::from_secs(10), reader.read(&mut answer)) => read.unwrap().unwrap(),
        () = drip => 0,
    };
    assert!(String::from_utf8_lossy(answer.get(..read).unwrap()).starts_with("HTTP/1.1 408"), "{read}");
    assert!(world.orders.seen().is_empty());
}

#[actix_web::test]
async fn a_silent_connection_is_closed() {
    let world = World::with(|config| config.header_timeout = Duration::from_millis(300));
    let mut stream = connect(&world).await;
    let mut buffer = [0; 512];
    let ended = timeout(Duration::from_secs(10), async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} }).await;
    assert!(ended.is_ok(), "still open");
}

/// Ten thousand of them with LONG=1.
#[actix_web::test]
async fn crowds_of_slow_and_silent_clients_do_not_shut_the_door_for_others() {
    let long = std::env::var_os("LONG").is_some();
    let crowd: usize = if long { 10_000 } else { 500 };
    // Both ends of every connection are in this process, and the gateway has two descriptors of each.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    assert!(most > crowd * 3 + 500, "{most} open files are too few for this test");
    let world = World::with(|config| {
        config.connections_max = crowd + 100;
        config.header_timeout = Duration::from_secs(if long { 30 } else { 3 });
    });
    let quiet = slowest(&world, 100).await;
    let mut held = Vec::new();
    for n in 0..crowd {
        let mut stream = connect(&world).await;
        if n % 2 == 0 {
            stream.write_all(b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nX-Pad: ").await.unwrap();
        }
        held.push(stream);
    }
    let crowded = slowest(&world, 100).await;
    // The slowest of a hundred, twice, and what a busy machine does to both.
    assert!(crowded < quiet * 2 + Duration::from_millis(250), "{quiet:?} alone, {crowded:?} in the crowd");
    let ended = join_all(held.iter_mut().map(|stream| async move {
        let mut buffer = [0; 512];
        timeout(Duration::from_secs(90), async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} }).await.is_ok()
    }));
    assert!(ended.await.into_iter().all(|ended| ended), "every one of them is cut");
}

/// Writes `head` and then a hundred megabytes, framed by `chunk`, for as long as they are taken. How many were, and what was answered.
async fn pour(world: &World, head: &str, chunk: &[u8]) -> (usize, String) {
    let (mut reader, mut writer) = connect(world).await.into_split();
    writer.write_all(head.as_bytes()).await.unwrap();
    let poured = async {
        let mut poured = 0;
        while poured < 100 << 20 && writer.write_all(chunk).await.is_ok() {
            poured += chunk.len();
        }
        poured
    };
    let answered = async {
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8(answer).unwrap()
    };
    timeout(Duration::from_secs(60), async { tokio::join!(poured, answered) }).await.unwrap()
}

#[actix_web::test]
async fn a_hundred_megabytes_are_cut_and_keep_nobody_out() {
    let world = World::new();
    let head = "POST /v1/stock HTTP/1.1\r\nHost: x\r\nX-Customer-Id: c1\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\n";
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 65_536], b"\r\n"].concat();
    let bodies = [
        ("413", format!("{head}Transfer-Encoding: chunked\r\n\r\n"), chunk.as_slice()),
        ("413", format!("{head}Content-Length: {}\r\n\r\n", 100 << 20), &[b' '; 65_536]),
        // Where nobody reads a body at all.
        ("404", "POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), chunk.as_slice()),
        ("405", "PUT /v1/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), chunk.as_slice()),
        (
            "401",
            "POST /v1/orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            chunk.as_slice(),
        ),
    ];
    for (status, head, chunk) in &bodies {
        let (poured, answer) = pour(&world, head, chunk).await;
        // The limit of the list, what is taken beyond it, and what both sides' kernels hold.
        assert!(poured < 24 << 20, "{poured} bytes were taken: {head}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains("connection: close"), "{answer}");
    }
    assert!(world.inventory.seen().is_empty() && world.orders.seen().is_empty());
    assert!(slowest(&world, 10).await < Duration::from_secs(5));
}

#[actix_web::test]
async fn what_is_left_of_a_small_body_is_taken_and_the_answer_arrives() {
    let world = World::new();
    for _ in 0..20 {
        let refused = world.post("/v1/orders", " ".repeat(100 * 1024)).send().await.unwrap();
        assert_eq!(problem(refused).await.code, Code::BodyTooLarge);
    }
}
