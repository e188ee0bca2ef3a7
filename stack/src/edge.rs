//! The way in, by option: HAProxy and Varnish with the very files that compose mounts, and the program that tells the cache what changed.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};

use crate::error::{Doing, Error};
use crate::process::Program;
use crate::settings;

const BALANCER: &str = include_str!("../../edge/haproxy.cfg");
const CACHE: &str = include_str!("../../edge/varnish.vcl");
/// Where Debian's packages put daemons, which are on no ordinary user's path.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"];
/// One machine and its load tools: the limits of one address have a file of their own to be read in.
const REQUESTS_PER_10S: &str = "1000000";
const CONNECTIONS_PER_ADDRESS: &str = "10000";

/// Ports of the edge, all on the loopback address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) https: u16,
    pub(crate) cache: u16,
    pub(crate) origin: u16,
    pub(crate) figures: u16,
}

/// Files and programs of the edge.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) folder: PathBuf,
    pub(crate) ports: Ports,
}

/// Whether HAProxy and Varnish are installed.
#[must_use]
pub fn is_edge_installed() -> bool {
    find("haproxy").is_ok() && find("varnishd").is_ok()
}

fn find(program: &str) -> Result<PathBuf, Error> {
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    let remedy = "as root: apt-get install haproxy varnish".to_owned();
    found.ok_or_else(|| Error::Missing { program: program.to_owned(), remedy })
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

impl Edge {
    /// Files it needs before it starts; the certificate is made once for a folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn initialise(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).doing(|| format!("make the folder {}", self.folder.display()))?;
        let origin = format!(
            "backend origin {{\n  .host = \"127.0.0.1\";\n  .port = \"{}\";\n  .first_byte_timeout = 15s;\n}}\n\nacl purgers {{\n  \"127.0.0.1\";\n}}\n",
            self.ports.origin
        );
        for (name, text) in [("haproxy.cfg", BALANCER), ("varnish.vcl", CACHE), ("backends.vcl", &origin)] {
            let path = self.folder.join(name);
            fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
        }
        let certificate = self.certificate();
        if certificate.exists() {
            return Ok(());
        }
        crate::secrets::write_private(&certificate, make_certificate()?.as_bytes())
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join("localhost.pem")
    }

    /// HAProxy in front of two gateways, each given by its port and the port of its `/readyz`.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub(crate) fn balancer(&self, gateways: [(u16, u16); 2]) -> Result<Program, Error> {
        let [(first, first_ops), (second, second_ops)] = gateways;
        let env = [
            ("EDGE_HTTP_BIND", local(self.ports.http)),
            ("EDGE_HTTPS_BIND", local(self.ports.https)),
            ("EDGE_CERTIFICATE", self.certificate().display().to_string()),
            ("EDGE_ORIGIN_BIND", local(self.ports.origin)),
            ("EDGE_FIGURES_BIND", local(self.ports.figures)),
            ("EDGE_VARNISH", local(self.ports.cache)),
            ("EDGE_GATEWAY_1", local(first)),
            ("EDGE_GATEWAY_1_OPS_PORT", first_ops.to_string()),
            ("EDGE_GATEWAY_2", local(second)),
            ("EDGE_GATEWAY_2_OPS_PORT", second_ops.to_string()),
            ("EDGE_REQUESTS_PER_10S", REQUESTS_PER_10S.to_owned()),
            ("EDGE_CONNECTIONS_PER_ADDRESS", CONNECTIONS_PER_ADDRESS.to_owned()),
        ];
        let command = vec![path(&find("haproxy")?), "-db".to_owned(), "-f".to_owned(), path(&self.folder.join("haproxy.cfg"))];
        Ok(Program { command, env: owned(env), folder: self.folder.clone(), user: None, end_by_quit: false })
    }

    /// Varnish, asking HAProxy's inner door.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub(crate) fn cache(&self) -> Result<Program, Error> {
        let mut command = vec![path(&find("varnishd")?), "-F".to_owned()];
        let listen = format!("{},HTTP", local(self.ports.cache));
        let (vcl, work) = (path(&self.folder.join("varnish.vcl")), path(&self.folder.join("cache")));
        let vcl_path = format!("vcl_path={}", self.folder.display());
        // no jail: it would want users of its own, and the folder's
        for (option, value) in
            [("-j", "none"), ("-f", &vcl), ("-p", &vcl_path), ("-a", &listen), ("-s", "malloc,64m"), ("-n", &work), ("-T", "none")]
        {
            command.extend([option.to_owned(), value.to_owned()]);
        }
        let env = settings::search_path().map(|value| ("PATH", value));
        Ok(Program { command, env: owned(env), folder: self.folder.clone(), user: None, end_by_quit: false })
    }

    /// Whether HAProxy has a gateway to send to.
    pub(crate) async fn check_balancer(&self) -> Result<(), String> {
        answers(&format!("http://{}/readyz", local(self.ports.figures))).await
    }

    /// Whether Varnish answers.
    pub(crate) async fn check_cache(&self) -> Result<(), String> {
        answers(&format!("http://{}/edge-health", local(self.ports.cache))).await
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn owned<'a>(env: impl IntoIterator<Item = (&'a str, String)>) -> Vec<(String, String)> {
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn answers(url: &str) -> Result<(), String> {
    let ask = async { crate::registry::client()?.get(url).send().await?.error_for_status() };
    ask.await.map(|_answer| ()).map_err(|error: reqwest::Error| error.to_string())
}

/// Key and certificate for this machine's own name, as HAProxy reads them: one file.
fn make_certificate() -> Result<String, Error> {
    let make = || {
        let key = KeyPair::generate()?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let certificate = CertificateParams::new(names)?.self_signed(&key)?;
        Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
    };
    make().map_err(|error: rcgen::Error| std::io::Error::other(error)).doing(|| "make the certificate of the edge".to_owned())
}
