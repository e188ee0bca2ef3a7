/// Every path of the ops port that is about more than health and metrics, with its method.
pub const ROUTES: &[(&str, &str)] = &[
    ("GET", "/ops/dlq/groups"),
    ("GET", "/ops/dlq/letters"),
    ("POST", "/ops/dlq/redrive"),
    ("POST", "/ops/dlq/skip"),
    ("POST", "/ops/dlq/abandon"),
    ("GET", "/ops/letters/{id}"),
    ("POST", "/ops/letters/{id}/edit"),
    ("GET", "/ops/retry/waiting"),
    ("GET", "/ops/retry/effects"),
    ("GET", "/ops/sagas"),
    ("GET", "/ops/sagas/{id}"),
    ("POST", "/ops/sagas/{id}/resume"),
    ("POST", "/ops/sagas/{id}/abandon"),
    ("GET", "/ops/rebuild"),
    ("POST", "/ops/rebuild"),
    ("POST", "/ops/subjects/{id}/erase"),
    ("GET", "/ops/stories/{id}"),
];

/// What an operator must be allowed for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To look.
    Read,
    /// To change something, or to plan to.
    Write,
}
