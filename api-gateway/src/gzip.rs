//! Large JSON answers are compressed for clients that take it.

use std::io::Write as _;

use actix_web::{HttpRequest, http::header, web::Bytes};
use flate2::{Compression, write::GzEncoder};

/// Below, compressing costs more than sending.
const BYTES_MIN: usize = 1_024;

/// Whether the client takes gzip.
pub(crate) fn is_accepted(request: &HttpRequest) -> bool {
    let values = request.headers().get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.trim_matches(['0', '.']).is_empty() && weight != "1");
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// `body` compressed, if it is worth it.
pub(crate) fn compress(body: &Bytes) -> Option<Bytes> {
    compress_at(body, Compression::fast())
}

/// The same for what is compressed once and sent often.
pub(crate) fn compress_well(body: &Bytes) -> Option<Bytes> {
    compress_at(body, Compression::best())
}

fn compress_at(body: &Bytes, level: Compression) -> Option<Bytes> {
    if body.len() < BYTES_MIN {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), level);
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}
