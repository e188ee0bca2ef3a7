//! What the gateway says about itself.

use std::{env, fs, path::Path};

use api_gateway::openapi;
use reqwest::Method;
use serde_json::Value;

use crate::{World, problem};

#[test]
fn the_committed_document_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let now = openapi::text();
    if env::var_os("WRITE_GOLDEN").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "api-gateway/openapi.json is not what the code says: WRITE_GOLDEN=1 cargo test -p api-gateway --test it openapi"
    );
}

/// Every `$ref` leads somewhere, every operation has its refusals, and no operation has two of a name.
#[test]
fn the_document_is_whole() {
    let document = openapi::document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut names = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            names.push(operation["operationId"].as_str().unwrap().to_owned());
            let responses = operation["responses"].as_object().unwrap();
            for status in ["429", "500", "503", "504"] {
                assert!(responses.contains_key(status), "{method} {path} {status}");
            }
            let guarded = operation["security"].as_array().unwrap().len() == 1;
            assert_eq!(responses.contains_key("401"), guarded, "{method} {path}");
            assert_eq!(responses.contains_key("403"), guarded, "{method} {path}");
        }
    }
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!((names.len(), count), (9, 9));
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| name == "$ref") {
                    Some(reference) => references.push(reference.to_owned()),
                    None => collect(member, references),
                }
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| collect(entry, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[actix_web::test]
async fn it_serves_the_document_a_page_for_it_and_the_page_of_every_problem() {
    let world = World::new();
    let served: Value = world.request(Method::GET, "/openapi.json").send().await.unwrap().json().await.unwrap();
    assert_eq!(served, openapi::document());
    for (path, media_type, contains) in [
        ("/docs", "text/html; charset=utf-8", "/docs/docs.js"),
        ("/docs/docs.js", "text/javascript; charset=utf-8", "/openapi.json"),
        ("/docs/docs.css", "text/css; charset=utf-8", "article"),
        ("/problems/unknown_sku", "text/markdown; charset=utf-8", "# `unknown_sku`"),
    ] {
        let response = world.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], media_type);
        assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        let text = response.text().await.unwrap();
        assert!(text.contains(contains), "{path}");
        // No other host is needed: a page without network is a page all the same.
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
    }
    assert_eq!(problem(world.request(Method::GET, "/problems/nonsense").send().await.unwrap()).await.code, contract::Code::NotFound);
}
