//! Spans out of an OTLP export.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span as Wire, status::StatusCode};
use prost::Message as _;

use super::Span;

/// `None`: the bytes are no export of traces.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Span>> {
    let request = ExportTraceServiceRequest::decode(bytes).ok()?;
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let service = attributes.iter().find(|attribute| attribute.key == "service.name").map(text).unwrap_or_default();
        for scope in resource.scope_spans {
            spans.extend(scope.spans.into_iter().map(|span| read(span, &service, &scope.schema_url)));
        }
    }
    Some(spans)
}

fn read(span: Wire, service: &str, schema_url: &str) -> Span {
    Span {
        service: service.to_owned(),
        kind: kind(span.kind()),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id)),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        attributes: span.attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect(),
        error: span.status.filter(|status| status.code() == StatusCode::Error).map(|status| status.message),
        time_ns: (span.start_time_unix_nano, span.end_time_unix_nano),
        schema_url: schema_url.to_owned(),
        name: span.name,
    }
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

fn text(attribute: &KeyValue) -> String {
    match &attribute.value {
        Some(AnyValue { value: Some(value) }) => match value {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => number.to_string(),
            Value::DoubleValue(number) => number.to_string(),
            Value::BoolValue(flag) => flag.to_string(),
            other @ (Value::ArrayValue(_) | Value::KvlistValue(_) | Value::BytesValue(_) | Value::StringValueStrindex(_)) => {
                format!("{other:?}")
            }
        },
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
