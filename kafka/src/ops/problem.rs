//! Refusals of the ops port, as problem+json.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, HttpResponseBuilder};
use operation::{Fault, Problem};

use crate::group_commit::Refused;

/// Why a request of an operator was not answered.
#[derive(Debug)]
pub enum Refusal {
    /// Something is wrong with the request, or nothing is there.
    Problem(Box<Problem>),
    /// The database does not answer.
    Database(sqlx::Error),
    /// A defect: detail goes to the log.
    Defect(Box<dyn std::error::Error + Send + Sync>),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Overloaded => Self::problem(503, "overloaded", "too many requests are under way"),
            Refused::Stopped => Self::starting(),
        }
    }
}

impl Refusal {
    fn problem(status: u16, code: &'static str, title: &str) -> Self {
        Self::Problem(Box::new(Self::document(status, code, title)))
    }

    fn document(status: u16, code: &'static str, title: &str) -> Problem {
        Problem {
            kind: format!("urn:problem:{code}"),
            title: title.to_owned(),
            status,
            code: code.to_owned(),
            detail: None,
            errors: Vec::new(),
        }
    }

    fn about(self, detail: impl Into<String>) -> Self {
        match self {
            Self::Problem(problem) => Self::Problem(Box::new(Problem { detail: Some(detail.into()), ..*problem })),
            Self::Database(_) | Self::Defect(_) => self,
        }
    }

    /// The service does not serve yet, or no longer.
    pub(super) fn starting() -> Self {
        Self::problem(503, "unavailable", "the service cannot answer now")
    }

    /// There is nothing at this path.
    #[must_use]
    pub fn nothing_here() -> Self {
        Self::problem(404, "not_found", "there is nothing at this path")
    }

    /// A query parameter is unknown or has no such value.
    #[must_use]
    pub fn query(detail: impl Into<String>) -> Self {
        Self::problem(400, "invalid_query", "the query is not valid").about(detail)
    }

    /// The body is not what the path takes.
    #[must_use]
    pub fn body(detail: impl Into<String>) -> Self {
        Self::problem(400, "malformed_json", "the body is not the JSON that was expected").about(detail)
    }

    /// Who or why is missing, or too long.
    #[must_use]
    pub fn unsigned(detail: impl Into<String>) -> Self {
        Self::problem(422, "decision_unsigned", "a decision names who decides and why").about(detail)
    }

    /// No letter has this number: it was handled, undone or skipped.
    #[must_use]
    pub fn no_letter(id: i64) -> Self {
        Self::problem(404, "letter_not_found", "no letter has this number any more").about(format!("letter {id}"))
    }

    /// The new body of a letter does not fit its schema.
    #[must_use]
    pub fn unfit(errors: Vec<Fault>) -> Self {
        Self::Problem(Box::new(Problem {
            errors,
            ..Self::document(422, "edit_invalid", "the body does not fit the schema it would be written with")
        }))
    }

    /// It is not known with which schema a letter would be written.
    #[must_use]
    pub fn no_schema(detail: impl Into<String>) -> Self {
        Self::problem(422, "edit_schema_unknown", "the schema of the new body is not known").about(detail)
    }

    /// There is no such saga.
    #[must_use]
    pub fn no_saga(id: &str) -> Self {
        Self::problem(404, "saga_not_found", "there is no such saga").about(id)
    }

    /// The saga is not stuck: there is nothing for a person to decide.
    #[must_use]
    pub fn not_stuck(status: &str) -> Self {
        Self::problem(409, "saga_not_stuck", "only a stuck saga can be resumed or abandoned").about(format!("it is {status}"))
    }

    /// The database is served from, or is being rebuilt already.
    #[must_use]
    pub fn not_lost(state: &str) -> Self {
        Self::problem(409, "rebuild_not_needed", "only a database that was lost or given up is rebuilt").about(format!("it is {state}"))
    }

    pub(super) fn response(self) -> HttpResponse {
        let problem = match self {
            Self::Problem(problem) => *problem,
            Self::Database(error) => {
                tracing::warn!(error = %error, "answer an operator");
                return Self::starting().response();
            }
            Self::Defect(error) => {
                tracing::error!(error = %error, "answer an operator");
                return Self::problem(500, "internal", "something went wrong; the log has it").response();
            }
        };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponseBuilder::new(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header(("Retry-After", "1"));
        }
        response.content_type("application/problem+json").body(serde_json::to_vec(&problem).unwrap_or_default())
    }
}
