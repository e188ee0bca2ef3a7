//! Who is let in at the ops port, and in whose name it is acted.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _};
use futures_util::future::LocalBoxFuture;
use operation::{Access, Problem};

use super::problem::Refusal;

/// Judges the headers of a request below `/ops`: the bearer's name, none where whoever connects is an operator, or the problem to answer.
/// The runtime knows no tokens, so the service brings this ([`crate::Service::operators`]).
pub type Admission = Arc<dyn Fn(HeaderMap, Access) -> LocalBoxFuture<'static, Result<Option<String>, Problem>> + Send + Sync>;

/// Who was let in.
#[derive(Debug, Clone)]
pub(super) struct Bearer(Option<String>);

impl Bearer {
    /// The name a decision is kept under: what its body says, with the bearer's beside it when that is another.
    pub(super) fn signs(&self, who: &str) -> String {
        match &self.0 {
            Some(bearer) if bearer != who => format!("{who} ({bearer})"),
            Some(_) | None => who.to_owned(),
        }
    }
}

pub(super) async fn admit(
    admission: Data<Admission>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if !request.path().starts_with("/ops") {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    let access = if matches!(*request.method(), Method::GET | Method::HEAD) { Access::Read } else { Access::Write };
    match admission(request.headers().clone(), access).await {
        Ok(bearer) => {
            if access == Access::Write {
                // Plans and refusals are not kept with the decisions.
                tracing::info!(operator = bearer.as_deref().unwrap_or("unnamed"), path = request.path(), "an operator acts");
            }
            request.extensions_mut().insert(Bearer(bearer));
            next.call(request).await.map(ServiceResponse::map_into_left_body)
        }
        Err(problem) => Ok(request.into_response(Refusal::Problem(Box::new(problem)).response()).map_into_right_body()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_never_kept_without_its_bearer() {
        let ann = Bearer(Some("ann".to_owned()));
        assert_eq!(ann.signs("ann"), "ann");
        assert_eq!(ann.signs("bob"), "bob (ann)");
        assert_eq!(Bearer(None).signs("bob"), "bob");
    }
}
