//! The error responses that many operations share: rejected requests, rate limits, server errors.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::MessageBody as _;
use actix_web::http::StatusCode;
use serde_json::Value;
use stele_core::Error;
use stele_service::BEARER_CHALLENGE;
use utoipa::openapi::content::Content;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{ContentBuilder, ObjectBuilder, RefOr, Response, ResponseBuilder, Schema, Type};

use super::ApiInfo;
use super::schema::one_of_schema;
use crate::dialect::{Dialect, RequestRejection};
use crate::fields::FieldError;

pub(super) const JSON_MEDIA_TYPE: &str = "application/json";

/// The shared error statuses: component name and description.
const SHARED_ERRORS: [(u16, &str, &str); 7] = [
    (400, "BadRequest", "请求无法使用：参数缺失、重复或不合要求，或正文无法解析。The request is invalid."),
    (401, "Unauthorized", "登录凭证缺失或已失效。The token is missing, expired or revoked."),
    (408, "RequestTimeout", "请求正文到达过慢。The body took too long."),
    (413, "ContentTooLarge", "请求正文超过上限（默认 64 KiB）。The body is too large."),
    (429, "TooManyRequests", "操作过于频繁。Rate limit exceeded: wait."),
    (500, "InternalServerError", "服务内部错误。Internal error."),
    (503, "ServiceUnavailable", "服务暂不可用。A store is unavailable, or the hashing queue is full."),
];

/// Component name and description of a shared error status.
pub(super) fn shared_error(status: StatusCode) -> Option<(&'static str, &'static str)> {
    SHARED_ERRORS
        .iter()
        .find(|(number, ..)| *number == status.as_u16())
        .map(|(_, name, description)| (*name, *description))
}

/// All shared error responses, by component name.
pub(super) fn shared_responses<D: Dialect>(api_info: &ApiInfo) -> Vec<(&'static str, Response)> {
    let rendered = SHARED_ERRORS.iter().filter_map(|(number, name, _)| {
        let status = StatusCode::from_u16(*number).ok()?;
        Some((*name, error_response(api_info, status, error_examples::<D>(status))))
    });
    rendered.collect()
}

/// An error response of the dialect: description, body schema, examples, and `Retry-After` or `WWW-Authenticate`.
pub(super) fn error_response(api_info: &ApiInfo, status: StatusCode, examples: Vec<(String, Value)>) -> Response {
    let text = shared_error(status).map_or_else(|| status.canonical_reason().unwrap_or_default(), |(_, text)| text);
    let response = ResponseBuilder::new()
        .description(text)
        .content(JSON_MEDIA_TYPE, json_content(one_of_schema(api_info.error_bodies), examples));
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
            let header = HeaderBuilder::new().schema(Some(seconds)).description(Some("秒。Seconds to wait."));
            response.header("Retry-After", header.build()).build()
        }
        StatusCode::UNAUTHORIZED => {
            let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([BEARER_CHALLENGE]));
            response.header("WWW-Authenticate", HeaderBuilder::new().schema(Some(text)).build()).build()
        }
        _ => response.build(),
    }
}

fn error_examples<D: Dialect>(status: StatusCode) -> Vec<(String, Value)> {
    let retry_after = Duration::from_secs(1);
    let missing = RequestRejection::InvalidInput(FieldError::Missing("…".into()));
    let responses = match status.as_u16() {
        400 => vec![
            ("Missing", D::render_rejection(&missing)),
            ("Unreadable", D::render_rejection(&RequestRejection::InvalidInput(FieldError::MalformedRequest))),
        ],
        401 => vec![("NotAuthenticated", D::render_error(&Error::NotAuthenticated))],
        408 => vec![("Timeout", D::render_rejection(&RequestRejection::RequestTimeout))],
        413 => vec![("TooLarge", D::render_rejection(&RequestRejection::BodyTooLarge))],
        429 => vec![("TooMany", D::render_error(&Error::RateLimited { retry_after }))],
        503 => vec![("Busy", D::render_error(&Error::Busy { retry_after }))],
        _ => vec![("Internal", D::render_rejection(&RequestRejection::Internal))],
    };
    responses.into_iter().map(|(name, response)| (name.to_owned(), parse_json_body(response))).collect()
}

/// A JSON body with named examples.
pub(super) fn json_content(schema: RefOr<Schema>, examples: Vec<(String, Value)>) -> Content {
    let examples = examples.into_iter().map(|(name, value)| (name, ExampleBuilder::new().value(Some(value)).build()));
    ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build()
}

/// The JSON value of a response's body.
pub(super) fn parse_json_body(response: HttpResponse) -> Value {
    let bytes = response.into_body().try_into_bytes().unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
