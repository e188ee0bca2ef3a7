//! A played ops port, and a command line run in this process against it.

use std::ffi::OsString;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use ops::output::Output;
use serde_json::Value;

/// Answers a request: path with query, and body.
type Play = dyn Fn(&str, &Value) -> (u16, Value) + Send + Sync;

/// One service.
pub(crate) struct Played {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Played {
    pub(crate) fn start(play: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let (play, asked): (Arc<Play>, _) = (Arc::new(play), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&asked);
        let server = HttpServer::new(move || {
            let (play, seen) = (Arc::clone(&play), Arc::clone(&seen));
            App::new().default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                let path = request.uri().to_string();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                lock(&seen).push(if body.is_null() {
                    format!("{} {path}", request.method())
                } else {
                    format!("{} {path} {body}", request.method())
                });
                let (status, answer) = play(&path, &body);
                let mut response = HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap());
                async move { response.json(answer) }
            }))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let url = format!("http://{}", server.addrs().first().unwrap());
        drop(actix_web::rt::spawn(server.run()));
        Self { url, asked }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

#[derive(Debug, Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Text {
    fn read(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).unwrap()
    }
}

/// What a command line printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `ops` with `arguments`, divided by spaces.
pub(crate) async fn ops(arguments: &[&str]) -> Ended {
    let (out, err) = (Text::default(), Text::default());
    let mut output = Output::to(out.clone(), err.clone());
    let arguments = std::iter::once("ops").chain(arguments.iter().copied()).map(OsString::from);
    let exit = ops::run(arguments, &mut output).await;
    Ended { code: exit.code(), out: out.read(), err: err.read() }
}

/// Compares with a golden file; `UPDATE_GOLDEN=1` writes it.
#[track_caller]
pub(crate) fn golden(name: &str, seen: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, seen).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(seen, wanted, "{name} differs from its golden file");
}
