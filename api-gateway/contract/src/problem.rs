use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse, Responder, ResponseError,
    body::BoxBody,
    http::{StatusCode, header},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Code, Pointer, headers};

/// One fault in a request body, at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// JSON Pointer (RFC 6901) into the body; empty for the body as a whole.
    #[schema(value_type = String, max_length = 256, examples("/lines/2/sku"))]
    pub pointer: Pointer,
    /// What kind of fault.
    pub code: Code,
    /// What is wrong there, for a person.
    pub detail: String,
}

impl Fault {
    /// The fault `code` at `pointer`.
    #[must_use]
    pub fn new(pointer: Pointer, code: Code, detail: impl Into<String>) -> Self {
        Self { pointer, code, detail: detail.into() }
    }
}

/// A refusal or failure as a client sees it: RFC 9457, `application/problem+json`.
///
/// Status, title and type follow from the code. It is an error an actix handler can return with `?`, and a responder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    instance: Option<String>,
    errors: Vec<Fault>,
    retry_after_seconds: Option<u32>,
}

impl Problem {
    /// The problem `code`, without detail.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, detail: None, instance: None, errors: Vec::new(), retry_after_seconds: code.retry_after_seconds() }
    }

    /// The problem of these faults, named after the first; `internal` if there is none.
    #[must_use]
    pub fn of_faults(errors: Vec<Fault>) -> Self {
        let code = errors.first().map_or(Code::Internal, |fault| fault.code);
        Self { errors, ..Self::new(code) }
    }

    /// The same with a sentence about this occurrence. Never put an internal error's text here.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// The same with the path of the request it answers.
    #[must_use]
    pub fn with_instance(self, path: impl Into<String>) -> Self {
        Self { instance: Some(path.into()), ..self }
    }

    /// The same with one more fault.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.errors.push(fault);
        self
    }

    /// The same with another waiting time than the code's, in seconds.
    #[must_use]
    pub fn with_retry_after_seconds(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }

    /// Which problem it is.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The sentence about this occurrence.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The path of the request it answers, where that is known.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// The faults in the body, in the order they were found.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.errors
    }

    /// What the client reads.
    #[must_use]
    pub fn document(&self) -> ProblemDocument {
        ProblemDocument {
            kind: format!("/problems/{}", self.code),
            title: self.code.title().to_owned(),
            status: self.code.status(),
            detail: self.detail.clone(),
            instance: self.instance.clone(),
            code: self.code,
            errors: self.errors.clone(),
            trace_id: None,
        }
    }
}

/// A problem as it travels; what a client decodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// `/problems/<code>`.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", examples("/problems/unknown_sku"))]
    pub kind: String,
    /// The fixed sentence of the code.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// A sentence about this occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The code to match on.
    pub code: Code,
    /// Faults in the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// The trace of the request (W3C Trace Context), which the logs name too; said by the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$", examples("0af7651916cd43dd8448eb211c80319c"))]
    pub trace_id: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        match self.errors.first() {
            Some(fault) => write!(f, ": {} at \"{}\"", fault.detail, fault.pointer),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(challenge) = challenge(self.code) {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        // Strings and numbers only: this cannot fail, and an empty body would still carry the status.
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        response.content_type(headers::PROBLEM_JSON).body(body)
    }
}

/// What a refused token is told. Source: RFC 6750, 3.
fn challenge(code: Code) -> Option<&'static str> {
    if code == Code::Unauthenticated {
        Some(r#"Bearer realm="orders""#)
    } else if code == Code::InvalidToken {
        Some(r#"Bearer realm="orders", error="invalid_token""#)
    } else if code == Code::InsufficientScope {
        Some(r#"Bearer realm="orders", error="insufficient_scope""#)
    } else {
        None
    }
}

impl Responder for Problem {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse<BoxBody> {
        let problem = if self.instance.is_none() { self.with_instance(request.path()) } else { self };
        problem.error_response()
    }
}
