//! What the gateway says about itself: the OpenAPI document, a page to read it with, and the page of each problem.
//! Everything is in the program; no other host is asked for anything.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path, ServiceConfig, get},
};
use contract::{Code, Problem};

use crate::{
    forward::{self, Worker},
    openapi,
};

const PAGE: &str = include_str!("../docs/index.html");
const SCRIPT: &str = include_str!("../docs/docs.js");
const STYLE: &str = include_str!("../docs/docs.css");
/// The pages may load what is here and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The document as it is served, made once.
#[derive(Debug, Clone)]
struct Document(String);

/// Registers the paths.
pub(crate) fn configure(service: &mut ServiceConfig) {
    service
        .app_data(Data::new(Document(openapi::text())))
        .route("/openapi.json", get().to(document))
        .route("/docs", get().to(|request, worker| text(request, worker, "text/html; charset=utf-8", PAGE)))
        .route("/docs/docs.js", get().to(|request, worker| text(request, worker, "text/javascript; charset=utf-8", SCRIPT)))
        .route("/docs/docs.css", get().to(|request, worker| text(request, worker, "text/css; charset=utf-8", STYLE)))
        .route("/problems/{code}", get().to(problem));
}

async fn document(request: HttpRequest, worker: Data<Worker>, document: Data<Document>) -> HttpResponse {
    forward::serve_own(&request, &worker, || Ok(page("application/json", document.0.clone())))
}

async fn text(request: HttpRequest, worker: Data<Worker>, media_type: &'static str, text: &'static str) -> HttpResponse {
    forward::serve_own(&request, &worker, || Ok(page(media_type, text.to_owned())))
}

async fn problem(request: HttpRequest, worker: Data<Worker>, code: Path<String>) -> HttpResponse {
    forward::serve_own(&request, &worker, || {
        let code: Code = code.parse().map_err(|_unknown| Problem::new(Code::NotFound))?;
        Ok(page("text/markdown; charset=utf-8", code.page().to_owned()))
    })
}

fn page(media_type: &str, body: String) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type(media_type).insert_header((header::CACHE_CONTROL, "public, max-age=60"));
    response.insert_header((header::CONTENT_SECURITY_POLICY, POLICY)).body(body)
}
