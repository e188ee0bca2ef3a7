use std::fs;
use std::path::PathBuf;

use api_gateway::{Config, Gateway, site};
use contract::Code;
use identity::Door;
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH};
use reqwest::{Method, Response, StatusCode};

use crate::World;

const PAGE: &str = "<!doctype html><title>Shop</title>";

/// A built storefront in a folder that goes with this value.
struct Built(PathBuf);

impl Built {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("site-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("assets")).unwrap();
        fs::write(folder.join("index.html"), PAGE).unwrap();
        fs::write(folder.join("assets/app-1a2b.js"), "let basket = 1;\n".repeat(200)).unwrap();
        Self(folder)
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn world(built: &Built) -> World {
    World::with(|config| {
        config.web_folder.clone_from(&built.0);
        config.oidc_issuer = "https://id.example:8443/realms/orders".to_owned();
    })
}

async fn get(world: &World, path: &str, accept: &str) -> Response {
    world.request(Method::GET, path).header(ACCEPT, accept).send().await.unwrap()
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_page_is_served_for_every_view_and_only_to_those_who_read_pages() {
    let built = Built::new("views");
    let world = world(&built);
    for path in ["/", "/index.html", "/orders/0192f0c1-2345-7abc-8def-0123456789ab", "/console/letters"] {
        let response = get(&world, path, "text/html,*/*").await;
        assert_eq!((response.status(), header(&response, CACHE_CONTROL)), (StatusCode::OK, "no-cache"), "{path}");
        let policy = header(&response, CONTENT_SECURITY_POLICY).to_owned();
        assert!(policy.contains("connect-src 'self' https://id.example:8443;"), "{policy}");
        assert_eq!(response.text().await.unwrap(), PAGE);
    }
    // What is the API's, what is a program's, and what is nobody's stays a problem.
    for (path, accept) in [("/v1/nothing", "text/html"), ("/orders", "application/json"), ("/assets/gone-0.js", "text/html")] {
        let response = get(&world, path, accept).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.json::<contract::ProblemDocument>().await.unwrap().code, Code::NotFound);
    }
    assert_eq!(world.request(Method::POST, "/").send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn files_with_a_hash_in_their_name_are_kept_for_ever_and_sent_compressed() {
    let built = Built::new("files");
    let world = world(&built);
    let plain = get(&world, "/assets/app-1a2b.js", "*/*").await;
    assert_eq!(header(&plain, CACHE_CONTROL), "public, max-age=31536000, immutable");
    assert_eq!(header(&plain, CONTENT_ENCODING), "");
    let tag = header(&plain, ETAG).to_owned();
    let compressed = world.request(Method::GET, "/assets/app-1a2b.js").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(header(&compressed, CONTENT_ENCODING), "gzip");
    assert!(compressed.bytes().await.unwrap().len() < plain.bytes().await.unwrap().len());
    let again = world.request(Method::GET, "/assets/app-1a2b.js").header(IF_NONE_MATCH, tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn the_application_is_told_who_lets_people_in() {
    let built = Built::new("settings");
    let world = world(&built);
    let settings: serde_json::Value = get(&world, "/config.json", "*/*").await.json().await.unwrap();
    assert_eq!(settings, serde_json::json!({ "issuer": "https://id.example:8443/realms/orders", "client_id": "orders-web" }));
}

#[tokio::test]
async fn a_folder_that_is_no_storefront_is_refused_at_the_start() {
    let built = Built::new("none");
    fs::remove_file(built.0.join("index.html")).unwrap();
    let mut config = Config::defaults().unwrap();
    config.http_addr = "127.0.0.1:0".parse().unwrap();
    config.web_folder.clone_from(&built.0);
    let refused = Gateway::start(config.clone(), Door::trusting()).unwrap_err();
    assert!(matches!(refused, api_gateway::Error::Site(site::Error::NoPage(_))), "{refused:?}");
    config.web_folder = built.0.join("nowhere");
    let refused = Gateway::start(config, Door::trusting()).unwrap_err();
    assert!(matches!(refused, api_gateway::Error::Site(site::Error::Read { .. })), "{refused:?}");
}
