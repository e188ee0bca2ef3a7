//! The storefront's files, from the address of the API: one origin, so no page needs leave to ask, and the same with and without an edge in front.
//!
//! They are read once, at the start. So a path can only name a file that was there, each is compressed once, and a file changed under a
//! running gateway never makes a page of two builds. Decision 0016 has the alternatives.

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::{Bytes, Data},
};
use contract::{Code, Problem};
use serde_json::json;

use crate::{
    config::Config,
    forward::{self, Worker},
    gzip,
};

/// The page that shows every view of the application.
const PAGE: &str = "/index.html";
/// Where the application learns who lets people in.
const SETTINGS: &str = "/config.json";
/// Files below have a hash of their content in their name.
const HASHED: &str = "/assets/";
/// Most bytes of a whole application: more is a folder given by mistake.
const BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Why the files cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no page to show.
    #[error("web_folder {0} has no index.html: build the storefront first (npm run build in web/)")]
    NoPage(PathBuf),
    /// It is larger than any application.
    #[error("web_folder {0} is over 32 MiB: not a built storefront")]
    TooLarge(PathBuf),
}

/// The files by their path.
#[derive(Debug)]
pub(crate) struct Site {
    files: HashMap<String, File>,
    policy: String,
}

#[derive(Debug)]
struct File {
    media_type: &'static str,
    bytes: Bytes,
    compressed: Option<Bytes>,
    tag: String,
}

impl Site {
    /// The files of the configured folder; none where no folder is configured.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) fn load(config: &Config) -> Result<Option<Self>, Error> {
        if config.web_folder.as_os_str().is_empty() {
            return Ok(None);
        }
        let mut found = HashMap::new();
        collect(&config.web_folder, "", &mut 0, &mut found)?;
        if !found.contains_key(PAGE) {
            return Err(Error::NoPage(config.web_folder.clone()));
        }
        let settings = json!({ "issuer": config.oidc_issuer, "client_id": config.web_client_id }).to_string();
        found.insert(SETTINGS.to_owned(), settings.into_bytes());
        let files = found.into_iter().map(|(path, bytes)| (path.clone(), File::new(&path, bytes))).collect();
        Ok(Some(Self { files, policy: policy(&config.oidc_issuer) }))
    }

    fn answer(&self, request: &HttpRequest) -> Option<HttpResponse> {
        let path = request.path();
        if let Some(file) = self.files.get(path) {
            return Some(self.send(path, file, request));
        }
        // The application's own paths: a person who comes in by one gets the page, a program that asks for JSON does not.
        let accepts = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_view = !path.starts_with("/v1/") && !path.starts_with(HASHED) && accepts.contains("text/html");
        is_view.then(|| self.files.get(PAGE).map(|page| self.send(PAGE, page, request))).flatten()
    }

    fn send(&self, path: &str, file: &File, request: &HttpRequest) -> HttpResponse {
        let keep = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
        let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let known = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == file.tag));
        let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response.insert_header((header::CACHE_CONTROL, keep)).insert_header((header::ETAG, format!("W/{}", file.tag)));
        response.insert_header((header::VARY, "accept-encoding")).insert_header((header::CONTENT_SECURITY_POLICY, self.policy.as_str()));
        response.insert_header((header::REFERRER_POLICY, "no-referrer"));
        if known {
            return response.finish();
        }
        response.content_type(file.media_type);
        match &file.compressed {
            Some(compressed) if gzip::is_accepted(request) => {
                response.insert_header((header::CONTENT_ENCODING, "gzip")).body(compressed.clone())
            }
            Some(_) | None => response.body(file.bytes.clone()),
        }
    }
}

impl File {
    fn new(path: &str, bytes: Vec<u8>) -> Self {
        let bytes = Bytes::from(bytes);
        let media_type = media_type(path);
        let is_text = !matches!(media_type, "image/png" | "image/webp" | "font/woff2");
        let compressed = is_text.then(|| gzip::compress_well(&bytes)).flatten();
        Self { media_type, compressed, tag: tag(&bytes), bytes }
    }
}

/// The same from every gateway of one build, which is all that a browser's question needs.
fn tag(bytes: &Bytes) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}-{:x}\"", hasher.finish(), bytes.len())
}

/// Serves a path that is not the API's.
pub(crate) async fn serve(request: HttpRequest, worker: Data<Worker>) -> HttpResponse {
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    let found = worker.shared.site.as_ref().filter(|_| readable).and_then(|site| site.answer(&request));
    match found {
        Some(response) => forward::serve_own(&request, &worker, || Ok(response)),
        None if readable && worker.shared.site.is_some() => forward::serve_own(&request, &worker, || Err(Problem::new(Code::NotFound))),
        None => forward::refuse_path(None, request, worker).await,
    }
}

fn collect(folder: &Path, below: &str, bytes: &mut u64, found: &mut HashMap<String, Vec<u8>>) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let (path, name) = (entry.path(), format!("{below}/{}", entry.file_name().to_string_lossy()));
        // A link is followed by nothing here: what is served is in the folder.
        let kind = entry.file_type().map_err(failed(&path))?;
        if kind.is_dir() {
            collect(&path, &name, bytes, found)?;
        } else if kind.is_file() {
            *bytes = bytes.saturating_add(entry.metadata().map_err(failed(&path))?.len());
            if *bytes > BYTES_MAX {
                return Err(Error::TooLarge(folder.to_owned()));
            }
            found.insert(name, fs::read(&path).map_err(failed(&path))?);
        }
    }
    Ok(())
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The pages load what is here, and talk to the provider that lets people in; to nobody else.
fn policy(issuer: &str) -> String {
    let provider = issuer.parse::<hyper::Uri>().ok();
    let provider = provider.as_ref().and_then(|uri| Some(format!(" {}://{}", uri.scheme_str()?, uri.authority()?)));
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{}; manifest-src 'self'; \
         worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        provider.unwrap_or_default()
    )
}
