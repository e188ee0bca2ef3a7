//! Who may operate a service: the ports of operators, where tokens are wanted.

use std::io::Write;
use std::sync::{Arc, Mutex};

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use stack::{Service, Stack};

const SERVICES: [Service; 3] = [Service::Orders, Service::Inventory, Service::Payments];

/// Every route × every kind of bearer × every service: nobody but the bearer of the very scope gets beyond the door.
pub(crate) async fn only_operators_come_in(stack: &Stack) {
    let http = Client::builder().no_proxy().build().unwrap();
    let customer = stack.token("ada", "orders:read orders:write stock:write").await.unwrap();
    let (reader, writer) = (stack.token("rita", "ops:read").await.unwrap(), stack.token("olga", "ops:write").await.unwrap());
    let status = async |url: String, method: &str, token: Option<&str>| {
        let request = http.request(Method::from_bytes(method.as_bytes()).unwrap(), url).header("X-Customer-Id", "olga").body("{}");
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let answer = request.send().await.unwrap();
        if answer.status() != StatusCode::OK {
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
        }
        answer.status().as_u16()
    };
    for service in SERVICES {
        let base = stack.ops_url(service, 1);
        for open in ["/livez", "/readyz", "/startupz", "/metrics"] {
            assert_eq!(http.get(format!("{base}{open}")).send().await.unwrap().status(), StatusCode::OK, "{open}");
        }
        for (method, path) in operation::ROUTES.iter().copied().chain([("GET", "/ops"), ("DELETE", "/ops/anything")]) {
            let url = format!("{base}{}", path.replace("{id}", "17"));
            let (right, wrong) = if method == "GET" { (&reader, &writer) } else { (&writer, &reader) };
            assert_eq!(status(url.clone(), method, None).await, 401, "{method} {url}");
            assert_eq!(status(url.clone(), method, Some("ab.cd.ef")).await, 401, "{method} {url}");
            assert_eq!(status(url.clone(), method, Some(&customer)).await, 403, "{method} {url}");
            assert_eq!(status(url.clone(), method, Some(wrong)).await, 403, "{method} {url}");
            let answer = status(url.clone(), method, Some(right)).await;
            assert!(![401, 403, 500].contains(&answer), "{method} {url}: {answer}");
        }
        // Who acted is in the log, whatever became of it.
        let log = stack.logs(service.instance(1));
        let acted = |line: &str| line.contains("an operator acts") && line.contains("\"operator\":\"olga\"");
        assert!(log.lines().any(acted) && !log.lines().any(|line| line.contains("\"operator\":\"rita\"")));
    }
    // The gateway has none of these, and says nothing else to anybody.
    let gateway = http.get(format!("{}/ops/sagas", stack.ops_url(Service::Gateway, 1))).bearer_auth(&reader).send().await.unwrap();
    assert_eq!(gateway.status(), StatusCode::NOT_FOUND);
}

#[derive(Debug, Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) async fn the_command_line_shows_its_token(stack: &Stack) {
    let run = async |words: &[&str]| {
        let (out, err) = (Text::default(), Text::default());
        let mut output = ops::output::Output::to(out.clone(), err.clone());
        let url = stack.ops_url(Service::Orders, 1);
        let fixed = ["ops", "-o", "json", "--orders-url", &url, "saga", "list"];
        let exit = ops::run(fixed.iter().chain(words).map(std::ffi::OsString::from), &mut output).await;
        let text = |text: Text| String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
        (exit.code(), text(out), text(err))
    };
    let (code, _, err) = run(&[]).await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("unauthenticated") && err.contains("OPS_TOKEN"), "{err}");
    let file = stack.folder().join("token");
    std::fs::write(&file, stack.token("rita", "ops:read").await.unwrap() + "\n").unwrap();
    let (code, out, err) = run(&["--token-file", file.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{err}");
    assert!(serde_json::from_str::<Value>(&out).unwrap()["data"].as_array().unwrap().is_empty());
}
