//! The binary itself: environment in, exit status out.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::upstream::Upstream;

fn gateway(environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-gateway"));
    command.env_clear().envs([
        ("HTTP_ADDR", "127.0.0.1:0"),
        ("OPS_ADDR", "127.0.0.1:0"),
        ("LOG_FORMAT", "json"),
        ("TRUST_CUSTOMER_HEADER", "true"),
    ]);
    command.envs(environment.iter().copied()).stderr(Stdio::piped()).spawn().unwrap()
}

#[actix_web::test]
async fn it_serves_by_its_environment_and_ends_well_on_sigterm() {
    let orders = Upstream::start();
    let mut child = gateway(&[("ORDERS_URL", &format!("http://{}", orders.address())), ("WORKERS", "1"), ("INSTANCE_ID", "gateway-7")]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let listening = lines.find(|line| line["message"] == "the gateway listens").unwrap();
    assert_eq!(listening["instance"], "gateway-7");
    let url = format!("http://{}/v1/orders", listening["http_addr"].as_str().unwrap());
    let response = reqwest::Client::new().get(url).header("x-customer-id", "c1").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(orders.seen().len(), 1);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(lines.any(|line| line["message"] == "stopped"));
}

#[test]
fn a_setting_that_cannot_work_is_named() {
    for (name, value) in [
        ("ORDERS_URL", "ftp://x"),
        ("HTTP_ADDR", "nowhere"),
        ("WORKERS", "0"),
        ("BODY_TIMEOUT_MS", "soon"),
        ("TRUSTED_PROXIES", "here"),
        ("OIDC_ISSUER", "http://x"),
        ("TRUST_CUSTOMER_HEADER", "false"),
    ] {
        let output = gateway(&[(name, value)]).wait_with_output().unwrap();
        assert!(!output.status.success(), "{name}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.to_lowercase().contains(&name.to_lowercase()), "{name}: {text}");
    }
}
