use actix_web::HttpRequest;
use contract::{Problem, headers};
use futures_util::future::{LocalBoxFuture, ready};
use values::CustomerId;

/// Says which customer a request is for.
///
/// The gateway asks once for each request and hands the answer to the services as `X-Customer-Id`, in place of whatever the
/// client sent under that name.
pub trait Authenticator: Send + Sync + 'static {
    /// The customer of `request`.
    ///
    /// # Errors
    /// The problem to answer: `unauthenticated`, or `unavailable` when it cannot be found out now.
    fn authenticate(&self, request: &HttpRequest) -> LocalBoxFuture<'_, Result<CustomerId, Problem>>;
}

/// Believes the header `X-Customer-Id`. For networks where whoever can connect may be any customer; tokens of an identity
/// provider take its place.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeaderAuthenticator;

impl Authenticator for HeaderAuthenticator {
    fn authenticate(&self, request: &HttpRequest) -> LocalBoxFuture<'_, Result<CustomerId, Problem>> {
        Box::pin(ready(headers::customer_id(request.headers())))
    }
}
