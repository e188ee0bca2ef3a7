use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use contract::Problem;
use operation::Access;

use crate::door::Door;
use crate::scope::Scope;

/// Judges requests of operators at an ops port: the bearer's subject, none where the network is trusted, or the problem to answer.
pub type Operators =
    Arc<dyn Fn(HeaderMap, Access) -> Pin<Box<dyn Future<Output = Result<Option<String>, operation::Problem>>>> + Send + Sync>;

impl Door {
    /// The same door for operators: `ops:read` to look, `ops:write` to act. `X-Customer-Id` says nothing here.
    #[must_use]
    pub fn operators(self) -> Operators {
        Arc::new(move |headers, access| {
            let door = self.clone();
            Box::pin(async move {
                let scope = match access {
                    Access::Read => Scope::OpsRead,
                    Access::Write => Scope::OpsWrite,
                };
                let mut headers = headers;
                headers.remove(contract::headers::CUSTOMER_ID);
                let caller = door.admit(&headers, scope).await.map_err(|problem| document(&problem))?;
                Ok(caller.customer.map(|subject| subject.as_str().to_owned()))
            })
        })
    }
}

/// In the words of the ops port, whose documents differ from the public ones by their `type`.
fn document(problem: &Problem) -> operation::Problem {
    let code = problem.code();
    operation::Problem {
        kind: format!("urn:problem:{code}"),
        title: code.title().to_owned(),
        status: code.status(),
        code: code.to_string(),
        detail: problem.detail().map(str::to_owned),
        errors: Vec::new(),
    }
}
