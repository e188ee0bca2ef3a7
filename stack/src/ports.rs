//! Ports that two stacks on one machine never share.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use crate::builder::{Builder, Ports};
use crate::error::{Doing, Error};
use crate::part::Service;

/// Below the range from which the kernel draws client ports (32768 upwards), so that no outgoing connection takes a port between choice and use.
const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;

/// A port of ours: the lock file is held as long as this value, and freed by the kernel when the process dies.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: Option<File>,
}

fn lock_folder() -> PathBuf {
    std::env::temp_dir().join(format!("saga-stack-ports-{}", rustix::process::geteuid().as_raw()))
}

/// Any free port.
///
/// # Errors
/// [`Error::NoPort`] when the whole range is taken.
pub(crate) fn free() -> Result<Port, Error> {
    let folder = lock_folder();
    fs::create_dir_all(&folder).doing(|| format!("make the folder {}", folder.display()))?;
    let span = LAST - FIRST;
    let offset = crate::secrets::random_below(u32::from(span))?;
    for step in 0..u32::from(span) {
        let number = FIRST + u16::try_from((offset + step) % u32::from(span)).unwrap_or(0);
        let path = folder.join(number.to_string());
        let file = File::create(&path).doing(|| format!("open {}", path.display()))?;
        if file.try_lock().is_ok() && is_free(number) {
            return Ok(Port { number, _lock: Some(file) });
        }
    }
    Err(Error::NoPort { first: FIRST, last: LAST })
}

/// The given port, checked to be free.
///
/// # Errors
/// [`Error::PortTaken`] with the process that listens there.
pub(crate) fn given(number: u16, part: &str) -> Result<Port, Error> {
    if is_free(number) {
        Ok(Port { number, _lock: None })
    } else {
        Err(Error::PortTaken { port: number, part: part.to_owned(), holder: holder(number) })
    }
}

/// A port for every part that `options` may start, in their order.
///
/// # Errors
/// [`Error::PortTaken`] for the first one that is in use, [`Error::NoPort`] when none is free.
pub(crate) fn plan(options: &Builder) -> Result<Vec<(String, Port)>, Error> {
    // the order is the order of the numbers with a base: append, so that users' numbers stay
    let mut names: Vec<(String, u16)> = vec![
        ("gateway-1-http".to_owned(), 0),
        ("registry".to_owned(), 1),
        ("kafka".to_owned(), 2),
        ("kafka-controller".to_owned(), 3),
        ("postgres".to_owned(), 4),
        ("gateway-1-ops".to_owned(), 5),
        ("kafka-proxied".to_owned(), 6),
        ("identity".to_owned(), 7),
        ("traces".to_owned(), 53),
    ];
    if options.edge {
        let edge = [("edge-http", 8), ("edge-https", 9), ("edge-cache", 50), ("edge-origin", 51), ("edge-figures", 52)];
        names.extend(edge.map(|(name, offset)| (name.to_owned(), offset)));
    }
    let gateways = options.instances.get(&Service::Gateway).copied().unwrap_or(0);
    for (instance, offset) in (2..=gateways).zip((40..).step_by(2)) {
        let part = Service::Gateway.instance(instance);
        names.push((format!("{part}-http"), offset));
        names.push((format!("{part}-ops"), offset + 1));
    }
    for (service, first) in [(Service::Orders, 10), (Service::Inventory, 20), (Service::Payments, 30)] {
        let count = options.instances.get(&service).copied().unwrap_or(0).max(1);
        for (instance, offset) in (1..=count).zip((first..).step_by(2)) {
            let part = service.instance(instance);
            names.push((format!("{part}-http"), offset));
            names.push((format!("{part}-ops"), offset + 1));
        }
    }
    let choose = |(name, offset): (String, u16)| {
        let port = match &options.ports {
            Ports::Free => free(),
            Ports::From { base, given: named } => {
                let short = if name == "gateway-1-http" { "gateway" } else { name.as_str() };
                given(named.get(short).copied().unwrap_or_else(|| base.saturating_add(offset)), short)
            }
        };
        port.map(|port| (name, port))
    };
    names.into_iter().map(choose).collect()
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}

/// The process that listens on `port`, as `name (process n)`; found through the socket's inode, as far as this user may look.
fn holder(port: u16) -> String {
    let unknown = || "another process (of another user, or in another namespace)".to_owned();
    let Some(inode) = listening_inode(port) else { return unknown() };
    let wanted = format!("socket:[{inode}]");
    let Ok(processes) = fs::read_dir("/proc") else { return unknown() };
    let is_process = |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    for process in processes.filter_map(Result::ok).filter(is_process) {
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds =
            files.filter_map(Result::ok).any(|file| fs::read_link(file.path()).is_ok_and(|target| target.to_string_lossy() == wanted));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return format!("{} (process {})", name.trim(), process.file_name().to_string_lossy());
        }
    }
    unknown()
}

fn listening_inode(port: u16) -> Option<String> {
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == "0A";
            listens.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_free_ports_differ_while_both_are_held() {
        let first = free().unwrap();
        let second = free().unwrap();
        assert_ne!(first.number, second.number);
    }

    #[test]
    fn a_taken_port_names_its_holder() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = listener.local_addr().unwrap().port();
        let error = given(number, "gateway").unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
    }
}
