//! What the gateway adds to a request: latency one at a time, and processor time and rate under load.
//!
//! `cargo build --release -p api-gateway --bins --examples && target/release/examples/overhead`
//!
//! Starts an upstream that answers at once, the gateway as a process of its own in front of it, and asks both.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use reqwest::Client;

const ORDER: &str = r#"{"lines":[{"sku":"1095275","quantity":2}],"payment":{"token":"tok_ok"}}"#;
const ANSWER: &str = concat!(
    r#"{"id":"0192f0c1-2345-7abc-8def-0123456789ab","status":"PENDING","reason":null,"#,
    r#""lines":[{"sku":"1095275","quantity":2,"unit_price":{"minor":150,"currency":"USD"}}],"#,
    r#""total":{"minor":300,"currency":"USD"},"placed_at":"2017-01-01T10:00:00.123456Z","ended_at":null}"#
);
const ONE_AT_A_TIME: usize = 2_000;
const IN_FLIGHT: usize = 64;
const UNDER_LOAD: usize = 40_000;
/// Linux counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let upstream = start_upstream()?;
    let (mut gateway, through) = start_gateway(upstream)?;
    let measured = measure(&mut std::io::stdout(), upstream, through, gateway.id()).await;
    gateway.kill().context("stop the gateway")?;
    gateway.wait().context("wait for the gateway")?;
    measured
}

async fn measure(out: &mut impl std::io::Write, upstream: SocketAddr, through: SocketAddr, gateway: u32) -> anyhow::Result<()> {
    for (name, address) in [("direct", upstream), ("gateway", through)] {
        ask(address, 1, ONE_AT_A_TIME / 4).await.context("warm up")?;
        let (_, mut latencies) = ask(address, 1, ONE_AT_A_TIME).await?;
        latencies.sort_unstable();
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default();
        writeln!(out, "{name:8} one at a time: p50 {:?}, p99 {:?}", at(50), at(99))?;
    }
    let before = processor_ticks(gateway)?;
    let (took, latencies) = ask(through, IN_FLIGHT, UNDER_LOAD).await?;
    let count = u32::try_from(latencies.len())?;
    let each = TICK * u32::try_from(processor_ticks(gateway)? - before)? / count;
    writeln!(
        out,
        "gateway  {IN_FLIGHT} in flight: {:.0} requests/s, {each:?} of processor time a request",
        f64::from(count) / took.as_secs_f64()
    )?;
    Ok(())
}

/// Places `count` orders with `in_flight` at once; how long it took, and each one.
async fn ask(address: SocketAddr, in_flight: usize, count: usize) -> anyhow::Result<(Duration, Vec<Duration>)> {
    let client = Client::new();
    let url = format!("http://{address}/v1/orders");
    let started = Instant::now();
    let workers = (0..in_flight).map(|_| async {
        let mut latencies = Vec::with_capacity(count / in_flight);
        for _ in 0..count / in_flight {
            let sent = Instant::now();
            let request = client.post(&url).header("content-type", "application/json").header("x-customer-id", "c1");
            let response = request.header("idempotency-key", "k1").body(ORDER).send().await?;
            ensure!(response.status() == 202, "answered {}", response.status());
            ensure!(response.bytes().await?.len() == ANSWER.len(), "another answer");
            latencies.push(sent.elapsed());
        }
        Ok(latencies)
    });
    let latencies = try_join_all(workers).await?.concat();
    Ok((started.elapsed(), latencies))
}

fn start_upstream() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let answer = |_: web::Bytes| async { HttpResponse::Accepted().content_type("application/json").body(ANSWER) };
    let server = HttpServer::new(move || App::new().default_service(web::to(answer))).workers(1).listen(listener)?;
    tokio::spawn(server.run());
    Ok(address)
}

/// The gateway's binary beside this one, with one worker.
fn start_gateway(upstream: SocketAddr) -> anyhow::Result<(Child, SocketAddr)> {
    let binary: PathBuf =
        std::env::current_exe()?.parent().and_then(|folder| folder.parent()).context("find the binary")?.join("api-gateway");
    let url = format!("http://{upstream}");
    let mut command = Command::new(&binary);
    command.envs([("HTTP_ADDR", "127.0.0.1:0"), ("OPS_ADDR", "127.0.0.1:0"), ("LOG_FORMAT", "json"), ("WORKERS", "1")]);
    // What a request costs, not how many are allowed.
    command.envs([("TRUST_CUSTOMER_HEADER", "true"), ("SUBJECT_RATE", "1000000"), ("SUBJECT_BURST", "1000000")]);
    command.envs([("ADDRESS_RATE", "1000000"), ("ADDRESS_BURST", "1000000")]);
    command.envs([("ORDERS_URL", &url), ("INVENTORY_URL", &url)]).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {}", binary.display()))?;
    let log = BufReader::new(child.stderr.take().context("read its log")?);
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(&line?)?;
        if let Some(address) = line.get("http_addr").and_then(serde_json::Value::as_str) {
            return Ok((child, address.parse()?));
        }
    }
    anyhow::bail!("the gateway ended before it listened")
}

/// Processor time of a process so far, user and system, in ticks.
fn processor_ticks(process: u32) -> anyhow::Result<u64> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Behind the name in brackets the 12th and 13th field (proc_pid_stat(5): utime, stime).
    let fields = line.rsplit_once(')').context("read processor time")?.1.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().context("read processor time")).sum()
}
