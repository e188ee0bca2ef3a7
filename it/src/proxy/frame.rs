//! Kafka's request frames, as far as a proxy must understand them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// API key of `Produce`. Source: Kafka protocol guide.
pub const PRODUCE: i16 = 0;
/// API key of `EndTxn`.
pub const END_TXN: i16 = 26;

/// No request of ours is larger; anything else is not Kafka.
const FRAME_MAX: usize = 64 << 20;

/// One request: its header, and all its bytes with the four of its length.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is asked.
    pub api: i16,
    /// Number that its answer carries.
    pub correlation: i32,
    /// `client.id` of who asks.
    pub client: &'a str,
    /// The whole frame.
    pub frame: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads the header. Source: Kafka protocol guide, request header v1: length, key, version, correlation id, client id.
    #[must_use]
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let api = i16::from_be_bytes(frame.get(4..6)?.try_into().ok()?);
        let correlation = i32::from_be_bytes(frame.get(8..12)?.try_into().ok()?);
        let client = std::str::from_utf8(text(frame, 12)?).ok()?;
        Some(Self { api, correlation, client, frame })
    }
}

/// A string of two bytes of length at `at`.
fn text(frame: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    frame.get(at + 2..at + 2 + length)
}

/// The transactional id of an `EndTxn` or `AddPartitionsToTxn` request of version 0 or 1: it follows the header.
#[must_use]
pub fn transactional_id(frame: &[u8]) -> Option<&[u8]> {
    let after_client = 12 + 2 + text(frame, 12)?.len();
    text(frame, after_client)
}

/// One frame with its four bytes of length.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if size > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a Kafka frame"));
    }
    let mut frame = length.to_vec();
    frame.resize(4 + size, 0);
    if let Some(body) = frame.get_mut(4..) {
        from.read_exact(body).await?;
    }
    Ok(frame)
}

/// Sends an `EndTxn` frame to the broker at `port` on a connection of its own, as one that was stuck in a dead link
/// arrives; the error code of the answer (length, correlation id, throttle time, code).
///
/// # Errors
/// The broker cannot be reached or answers something else.
pub async fn deliver(frame: &[u8], port: u16) -> io::Result<i16> {
    let mut broker = TcpStream::connect(("127.0.0.1", port)).await?;
    broker.write_all(frame).await?;
    let answer = read(&mut broker).await?;
    let code = answer.get(12..14).and_then(|code| code.try_into().ok()).map(i16::from_be_bytes);
    code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer to EndTxn is too short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_tells_its_key_client_and_transaction() {
        let mut body = Vec::new();
        body.extend(26_i16.to_be_bytes());
        body.extend(1_i16.to_be_bytes());
        body.extend(7_i32.to_be_bytes());
        body.extend(4_i16.to_be_bytes());
        body.extend(b"late");
        body.extend(5_i16.to_be_bytes());
        body.extend(b"txn-1");
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(body);
        let request = Request::parse(&frame).unwrap();
        assert_eq!((request.api, request.correlation, request.client), (END_TXN, 7, "late"));
        assert_eq!(transactional_id(&frame), Some(b"txn-1".as_slice()));
        assert!(Request::parse(&frame[..10]).is_none());
    }
}
