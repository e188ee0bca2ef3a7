//! The same rules as an actix extractor, so that a handler's arguments are already valid.

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
    web::{Bytes, BytesMut},
};
use futures_util::{StreamExt, future::LocalBoxFuture};

use crate::{Body, Code, Problem, body::too_large, parse};

/// A checked body as a handler's argument. Refuses what is not JSON, what is too large and what [`parse`] refuses, each
/// with its [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Body + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let instance = request.path().to_owned();
        let media_type = require_json(request.headers());
        let payload = payload.take();
        Box::pin(async move {
            let read = async {
                media_type?;
                parse(&read_body(payload, T::BYTES_MAX).await?)
            };
            read.await.map(Self).map_err(|problem: Problem| problem.with_instance(instance))
        })
    }
}

/// Checks that a body is uncompressed JSON by its headers.
///
/// # Errors
/// `unsupported_media_type`.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let media_type = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    let is_json = media_type.trim().eq_ignore_ascii_case("application/json");
    let is_plain = text(header::CONTENT_ENCODING).is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"));
    if is_json && is_plain { Ok(()) } else { Err(Problem::new(Code::UnsupportedMediaType)) }
}

/// Collects a body of at most `bytes_max` bytes.
///
/// # Errors
/// `body_too_large` as soon as it is known to be; `bad_request` when the client stops or breaks the framing.
pub async fn read_body(mut payload: Payload, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_broken| Problem::new(Code::BadRequest).with_detail("the body did not arrive whole"))?;
        if body.len() + chunk.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if body.is_empty() && body.capacity() == 0 {
            body.reserve(chunk.len());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The announced length of a body, when it is over the limit already.
///
/// # Errors
/// `body_too_large`.
pub fn check_announced_length<M: HttpMessage>(message: &M, bytes_max: usize) -> Result<(), Problem> {
    let announced = message.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let bytes_max_u64 = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    if announced.is_some_and(|length| length > bytes_max_u64) { Err(too_large(bytes_max)) } else { Ok(()) }
}
