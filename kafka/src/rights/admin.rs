//! The four admin requests that rdkafka cannot make, on a connection of their own: log in, list, give and take rights.
//!
//! Versions are the newest without compact fields, which Kafka 4 answers still. Source: Kafka protocol guide; the codes are
//! those of `ResourceType`, `PatternType`, `AclOperation` and `AclPermissionType` in Kafka's clients.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use rsasl::config::SASLConfig;
use rsasl::prelude::{Mechname, SASLClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Operation, Resource, Right};
use crate::cluster::{Cluster, Login, MECHANISM};

const HANDSHAKE: (i16, i16) = (17, 1);
const AUTHENTICATE: (i16, i16) = (36, 0);
const DESCRIBE: (i16, i16) = (29, 1);
const CREATE: (i16, i16) = (30, 1);
const DELETE: (i16, i16) = (31, 1);

const LITERAL: i8 = 3;
const ANY: i8 = 1;
const ALLOW: i8 = 3;
const ANY_HOST: &str = "*";
/// No answer of these is larger.
const ANSWER_BYTES_MAX: u32 = 8 << 20;
const WITHIN: Duration = Duration::from_secs(10);

/// Why rights could not be listed or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No broker answered.
    #[error("ask Kafka about rights")]
    Unreachable(#[source] io::Error),
    /// The broker refused.
    #[error("Kafka refused to {doing}: error {code} {text}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// Kafka's code.
        code: i16,
        /// Its words.
        text: String,
    },
    /// The broker or we could not be proven to know the password.
    #[error("log in to Kafka: {0}")]
    Login(String),
    /// The cluster knows no principals, so there is nobody to give rights to.
    #[error("no kafka_user to give rights as")]
    Anonymous,
    /// An answer that is none.
    #[error("Kafka's answer to {0} cannot be read")]
    Garbled(&'static str),
}

pub(super) struct Connection {
    stream: TcpStream,
    correlation: i32,
}

impl Connection {
    pub(super) async fn open(cluster: &Cluster) -> Result<Self, Error> {
        let login = cluster.login.as_ref().ok_or(Error::Anonymous)?;
        let address = cluster.bootstrap.split(',').next().unwrap_or_default();
        let connecting = tokio::time::timeout(WITHIN, TcpStream::connect(address)).await;
        let stream = connecting.map_err(io::Error::from).and_then(|stream| stream).map_err(Error::Unreachable)?;
        let mut connection = Self { stream, correlation: 0 };
        connection.log_in(login).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), Error> {
        let broken = |error: &dyn std::fmt::Display| Error::Login(error.to_string());
        let answer = self.ask("handshake", HANDSHAKE, &Writer::default().text(MECHANISM)).await?;
        let mut answer = Reader::new(&answer, "handshake");
        refused("log in", answer.short()?, None)?;
        let config = SASLConfig::with_credentials(None, login.user.clone(), login.password.expose().to_owned());
        let client = SASLClient::new(config.map_err(|error| broken(&error))?);
        let name = Mechname::parse(MECHANISM.as_bytes()).map_err(|error| broken(&error))?;
        let mut session = client.start_suggested(&[name]).map_err(|error| broken(&error))?;
        let mut theirs: Option<Vec<u8>> = None;
        loop {
            let mut ours = Vec::new();
            let state = session.step(theirs.as_deref(), &mut ours).map_err(|error| broken(&error))?;
            if !state.is_running() && ours.is_empty() {
                return Ok(());
            }
            let answer = self.ask("authenticate", AUTHENTICATE, &Writer::default().bytes(&ours)).await?;
            let mut answer = Reader::new(&answer, "authenticate");
            let (code, text) = (answer.short()?, answer.optional_text()?);
            refused("log in", code, text)?;
            theirs = Some(answer.bytes()?.to_owned());
            if !state.is_running() {
                return Ok(());
            }
        }
    }

    /// The rights of one principal, except those of kinds that we never give.
    pub(super) async fn rights_of(&mut self, principal: &str) -> Result<BTreeSet<Right>, Error> {
        let filter = Writer::default().byte(ANY).no_text().byte(ANY).text(&user(principal)).no_text().byte(ANY).byte(ANY);
        let answer = self.ask("describe rights", DESCRIBE, &filter).await?;
        let mut answer = Reader::new(&answer, "describe rights");
        answer.int()?; // throttled for so many ms
        let (code, text) = (answer.short()?, answer.optional_text()?);
        refused("describe rights", code, text)?;
        let mut rights = BTreeSet::new();
        for _ in 0..answer.int()? {
            let (kind, name, pattern) = (answer.byte()?, answer.text()?, answer.byte()?);
            for _ in 0..answer.int()? {
                let (_, _, operation, permission) = (answer.text()?, answer.text()?, answer.byte()?, answer.byte()?);
                if let (Some(resource), Some(operation), LITERAL, ALLOW) =
                    (resource(kind, name.clone()), of(operation), pattern, permission)
                {
                    rights.insert(Right { principal: principal.to_owned(), resource, operation });
                }
            }
        }
        Ok(rights)
    }

    pub(super) async fn give(&mut self, rights: &[&Right]) -> Result<(), Error> {
        let request = rights.iter().fold(Writer::default().count(rights.len()), |request, right| request.binding(right));
        let answer = self.ask("create rights", CREATE, &request).await?;
        let mut answer = Reader::new(&answer, "create rights");
        answer.int()?;
        for _ in 0..answer.int()? {
            let (code, text) = (answer.short()?, answer.optional_text()?);
            refused("create a right", code, text)?;
        }
        Ok(())
    }

    pub(super) async fn take(&mut self, rights: &[&Right]) -> Result<(), Error> {
        if rights.is_empty() {
            return Ok(());
        }
        let request = rights.iter().fold(Writer::default().count(rights.len()), |request, right| request.binding(right));
        let answer = self.ask("delete rights", DELETE, &request).await?;
        let mut answer = Reader::new(&answer, "delete rights");
        answer.int()?;
        // Only the first filter's outcome is looked at: what was deleted follows it, and all fail for the same reason.
        answer.int()?;
        let (code, text) = (answer.short()?, answer.optional_text()?);
        refused("delete a right", code, text)
    }

    async fn ask(&mut self, doing: &'static str, (api, version): (i16, i16), body: &Writer) -> Result<Vec<u8>, Error> {
        self.correlation += 1;
        let mut frame = Writer::default();
        frame.0.extend(api.to_be_bytes());
        frame.0.extend(version.to_be_bytes());
        frame.0.extend(self.correlation.to_be_bytes());
        let frame = frame.text("setup");
        let length = u32::try_from(frame.0.len() + body.0.len()).map_err(|_too_long| Error::Garbled(doing))?;
        let message = [&length.to_be_bytes()[..], &frame.0, &body.0].concat();
        let exchange = async {
            self.stream.write_all(&message).await?;
            let length = self.stream.read_u32().await?;
            if length > ANSWER_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no answer of Kafka's"));
            }
            let mut answer = vec![0; usize::try_from(length).unwrap_or_default()];
            self.stream.read_exact(&mut answer).await?;
            Ok(answer)
        };
        let answer = tokio::time::timeout(WITHIN, exchange).await;
        let answer = answer.map_err(io::Error::from).and_then(|answer| answer).map_err(Error::Unreachable)?;
        answer.get(4..).map(<[u8]>::to_owned).ok_or(Error::Garbled(doing)) // after the correlation id
    }
}

fn refused(doing: &'static str, code: i16, text: Option<String>) -> Result<(), Error> {
    if code == 0 { Ok(()) } else { Err(Error::Refused { doing, code, text: text.unwrap_or_default() }) }
}

fn user(principal: &str) -> String {
    format!("User:{principal}")
}

fn resource(kind: i8, name: String) -> Option<Resource> {
    match kind {
        2 => Some(Resource::Topic(name)),
        3 => Some(Resource::Group(name)),
        5 => Some(Resource::TransactionalId(name)),
        _ => None,
    }
}

fn of(operation: i8) -> Option<Operation> {
    match operation {
        3 => Some(Operation::Read),
        4 => Some(Operation::Write),
        8 => Some(Operation::Describe),
        _ => None,
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn byte(mut self, byte: i8) -> Self {
        self.0.extend(byte.to_be_bytes());
        self
    }

    fn count(mut self, count: usize) -> Self {
        self.0.extend(i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes());
        self
    }

    /// Names are checked to be short where they are made; a longer one is cut and then refused by the broker.
    fn text(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let length = i16::try_from(bytes.len()).unwrap_or(i16::MAX);
        self.0.extend(length.to_be_bytes());
        self.0.extend(bytes.iter().take(length.unsigned_abs().into()));
        self
    }

    fn no_text(mut self) -> Self {
        self.0.extend((-1_i16).to_be_bytes());
        self
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let mut writer = self.count(bytes.len());
        writer.0.extend(bytes);
        writer
    }

    /// A right; the same bytes name it when it is given and when it is taken.
    fn binding(self, right: &Right) -> Self {
        let (kind, name) = match &right.resource {
            Resource::Topic(name) => (2, name),
            Resource::Group(name) => (3, name),
            Resource::TransactionalId(name) => (5, name),
        };
        let operation = match right.operation {
            Operation::Read => 3,
            Operation::Write => 4,
            Operation::Describe => 8,
        };
        self.byte(kind).text(name).byte(LITERAL).text(&user(&right.principal)).text(ANY_HOST).byte(operation).byte(ALLOW)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn new(rest: &'a [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Error::Garbled(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let what = self.what;
        self.take(N)?.try_into().map_err(|_other_length| Error::Garbled(what))
    }

    fn byte(&mut self) -> Result<i8, Error> {
        self.array().map(i8::from_be_bytes)
    }

    fn short(&mut self) -> Result<i16, Error> {
        self.array().map(i16::from_be_bytes)
    }

    fn int(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    fn optional_text(&mut self) -> Result<Option<String>, Error> {
        let Ok(length) = usize::try_from(self.short()?) else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned()))
    }

    fn text(&mut self) -> Result<String, Error> {
        self.optional_text()?.ok_or(Error::Garbled(self.what))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.int()?).unwrap_or_default();
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_written_as_the_protocol_guide_says() {
        let right = Right { principal: "a".to_owned(), resource: Resource::Topic("t".to_owned()), operation: Operation::Write };
        let written = Writer::default().binding(&right).0;
        assert_eq!(written, b"\x02\x00\x01t\x03\x00\x06User:a\x00\x01*\x04\x03");
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        assert!(Reader::new(b"\x00\x05abc", "test").text().is_err());
        assert!(Reader::new(b"\xff\xff", "test").optional_text().unwrap().is_none());
        assert!(Reader::new(b"\x00", "test").short().is_err());
    }
}
