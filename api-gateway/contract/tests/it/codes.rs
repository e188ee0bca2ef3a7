use std::{collections::BTreeSet, fs, path::Path};

use actix_web::{
    ResponseError, body,
    http::{StatusCode, header},
};
use contract::{Code, Fault, Pointer, Problem, ProblemDocument};

fn answer(problem: &Problem) -> (StatusCode, header::HeaderMap, Vec<u8>) {
    let response = problem.error_response();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = body::MessageBody::try_into_bytes(response.into_body()).unwrap();
    (status, headers, bytes.to_vec())
}

#[test]
fn the_registry_is_the_agreed_one() {
    let lines = Code::ALL.iter().map(|code| {
        let retry = code.retry_after_seconds().map_or_else(|| "-".to_owned(), |seconds| seconds.to_string());
        format!("{code} {} {retry} {}\n", code.status(), code.title())
    });
    let registry: String = lines.collect();
    assert_eq!(registry, include_str!("../golden/codes.txt"), "codes are stable: change the golden file knowingly");
}

#[test]
fn every_code_has_its_page_and_every_page_its_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    let pages = fs::read_dir(&folder).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
    // Codes of operators' tools have pages there as well, so only ours are looked for.
    let pages: BTreeSet<String> = pages.collect();
    for code in Code::ALL {
        let name = format!("{code}.md");
        assert!(pages.contains(&name), "docs/errors/{name} is missing");
        let page = fs::read_to_string(folder.join(&name)).unwrap();
        for part in ["# `", "**Meaning:**", "**To confirm:**", "**What to do:**", &format!("HTTP status {}", code.status())] {
            assert!(page.contains(part), "docs/errors/{name} lacks {part}");
        }
    }
}

#[test]
fn a_code_reads_back_from_its_text() {
    for code in Code::ALL {
        assert_eq!(code.as_str().parse::<Code>(), Ok(*code));
    }
    assert!("no_such_code".parse::<Code>().is_err());
}

#[test]
fn every_problem_is_a_problem_document_with_status_and_type_of_its_code() {
    for code in Code::ALL {
        let (status, headers, body) = answer(&Problem::new(*code).with_instance("/v1/orders"));
        assert_eq!(status.as_u16(), code.status());
        assert_eq!(headers.get(header::CONTENT_TYPE).unwrap(), "application/problem+json");
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), "no-store");
        assert_eq!(headers.contains_key(header::RETRY_AFTER), code.retry_after_seconds().is_some(), "{code}");
        assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), matches!(code.status(), 401 | 403), "{code}");
        let document: ProblemDocument = serde_json::from_slice(&body).unwrap();
        assert_eq!(document.kind, format!("/problems/{code}"));
        assert_eq!((document.status, document.code), (code.status(), *code));
        assert_eq!(document.instance.as_deref(), Some("/v1/orders"));
    }
}

#[test]
fn a_problem_with_a_fault_reads_as_agreed() {
    let pointer = Pointer::root().member("lines").entry(2).member("sku");
    let problem = Problem::new(Code::UnknownSku)
        .with_fault(Fault::new(pointer, Code::UnknownSku, "no product has this SKU"))
        .with_detail("1 of 3 SKUs is not known")
        .with_instance("/v1/orders");
    let (_, _, body) = answer(&problem);
    let expected = concat!(
        r#"{"type":"/problems/unknown_sku","title":"A SKU is not known","status":422,"#,
        r#""detail":"1 of 3 SKUs is not known","instance":"/v1/orders","code":"unknown_sku","#,
        r#""errors":[{"pointer":"/lines/2/sku","code":"unknown_sku","detail":"no product has this SKU"}]}"#
    );
    assert_eq!(String::from_utf8(body).unwrap(), expected);
}

#[test]
fn the_waiting_time_can_be_another_one() {
    let (_, headers, _) = answer(&Problem::new(Code::Overloaded).with_retry_after_seconds(7));
    assert_eq!(headers.get(header::RETRY_AFTER).unwrap(), "7");
}

#[test]
fn a_pointer_escapes_and_stays_short() {
    assert_eq!(Pointer::root().member("a/b~c").as_str(), "/a~1b~0c");
    let long = Pointer::root().member("lines").member(&"x".repeat(5_000));
    assert_eq!(long.as_str(), "/lines");
}
