//! The contract as a client and as a service meets it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helper functions of tests fail by panicking")]

mod codes;
mod orders;
mod pages;
mod products;
mod properties;
mod requests;

use contract::{Body, Code, Problem, parse};

/// The problem that refuses `body`.
fn refusal<T: Body>(body: &str) -> Problem {
    match parse::<T>(body.as_bytes()) {
        Ok(_) => panic!("accepted: {body}"),
        Err(problem) => problem,
    }
}

/// Code and pointer of every fault in `body`.
fn faults<T: Body>(body: &str) -> Vec<(Code, String)> {
    refusal::<T>(body).faults().iter().map(|fault| (fault.code, fault.pointer.as_str().to_owned())).collect()
}

/// Asserts that `body` is refused for one fault.
#[track_caller]
fn assert_fault<T: Body>(body: &str, code: Code, pointer: &str) {
    let problem = refusal::<T>(body);
    assert_eq!(problem.code(), code, "{body}: {problem}");
    assert_eq!(faults::<T>(body), [(code, pointer.to_owned())], "{body}");
}
