//! The OpenAPI description of one operation.

use std::marker::PhantomData;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::Value;
use stele_core::Error;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema};
use utoipa::openapi::{Responses, ResponsesBuilder, SchemaFormat, SecurityRequirement, Type};

use super::error_responses::{self, JSON_MEDIA_TYPE};
use super::schema::one_of_schema;
use super::{ApiInfo, FieldSchema, ObjectSchema, Parameters};
use crate::dialect::{Dialect, status_for_error};

/// The media types that every request body may have, unless the operation takes a form alone.
const BODY_MEDIA_TYPES: [&str; 3] = [JSON_MEDIA_TYPE, FORM_MEDIA_TYPE, "multipart/form-data"];
const FORM_MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// The name of the success example. Examples are sorted by name; the digit puts it first.
const SUCCESS_EXAMPLE_NAME: &str = "0 Success";

/// The description of one operation of dialect `D`, as a builder.
pub struct OperationDescription<D> {
    id: &'static str,
    summary: &'static str,
    description: String,
    body: Option<RequestBodyDescription>,
    parameters: Vec<(FieldSchema, ParameterIn)>,
    success_bodies: Vec<&'static ObjectSchema>,
    returns_png: bool,
    success_headers: &'static [(&'static str, &'static str)],
    error_examples: Vec<(StatusCode, String, Value)>,
    is_rate_limited: bool,
    security: Vec<SecurityRequirement>,
    dialect: PhantomData<D>,
}

/// The request body of an operation.
#[derive(Clone, Copy)]
struct RequestBodyDescription {
    schema: &'static ObjectSchema,
    requirement: BodyRequirement,
    media_types: &'static [&'static str],
}

impl RequestBodyDescription {
    const fn new(schema: &'static ObjectSchema, requirement: BodyRequirement) -> Self {
        Self { schema, requirement, media_types: &BODY_MEDIA_TYPES }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyRequirement {
    Required,
    Optional,
}

impl<D: Dialect> OperationDescription<D> {
    /// An operation named `id`. `summary` is the API document's title; `description` explains the operation in English
    /// and Chinese.
    pub fn new(id: &'static str, summary: &'static str, description: impl Into<String>) -> Self {
        Self {
            id,
            summary,
            description: description.into(),
            body: None,
            parameters: Vec::new(),
            success_bodies: Vec::new(),
            returns_png: false,
            success_headers: &[],
            error_examples: Vec::new(),
            is_rate_limited: false,
            security: Vec::new(),
            dialect: PhantomData,
        }
    }

    /// Requires a body with this schema, in any of the media types.
    #[must_use]
    pub fn required_body(mut self, object: &'static ObjectSchema) -> Self {
        self.body = Some(RequestBodyDescription::new(object, BodyRequirement::Required));
        self
    }

    /// Requires a form with this schema.
    #[must_use]
    pub fn required_form(mut self, object: &'static ObjectSchema) -> Self {
        let body = RequestBodyDescription::new(object, BodyRequirement::Required);
        self.body = Some(RequestBodyDescription { media_types: &[FORM_MEDIA_TYPE], ..body });
        self
    }

    /// Accepts a body with this schema, or none.
    #[must_use]
    pub fn optional_body(mut self, object: &'static ObjectSchema) -> Self {
        self.body = Some(RequestBodyDescription::new(object, BodyRequirement::Optional));
        self
    }

    /// Accepts these fields in the query string.
    #[must_use]
    pub fn query_parameters(mut self, fields: &[FieldSchema]) -> Self {
        self.parameters.extend(fields.iter().map(|field| (*field, ParameterIn::Query)));
        self
    }

    /// Has this field in the path.
    #[must_use]
    pub fn path_parameter(mut self, field: FieldSchema) -> Self {
        self.parameters.push((field, ParameterIn::Path));
        self
    }

    /// Responds with 200 and one of these bodies.
    #[must_use]
    pub fn success_bodies<const N: usize>(mut self, objects: [&'static ObjectSchema; N]) -> Self {
        self.success_bodies = objects.into();
        self
    }

    /// Responds with 200 and a PNG image.
    #[must_use]
    pub fn png_body(mut self) -> Self {
        self.returns_png = true;
        self
    }

    /// Adds these headers, by name and description, to the 200 response.
    #[must_use]
    pub fn success_headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.success_headers = headers;
        self
    }

    /// Adds the responses for these errors, rendered by the dialect, as examples.
    #[must_use]
    pub fn error_examples(mut self, errors: impl IntoIterator<Item = Error>) -> Self {
        for error in errors {
            self.error_examples.push((
                status_for_error(&error),
                example_name(&error).to_owned(),
                error_responses::parse_json_body(D::render_error(&error)),
            ));
        }
        self
    }

    /// Adds `response` as an error example.
    #[must_use]
    pub fn error_example(mut self, name: &str, response: HttpResponse) -> Self {
        self.error_examples.push((response.status(), name.to_owned(), error_responses::parse_json_body(response)));
        self
    }

    /// May respond with 429 and `Retry-After`.
    #[must_use]
    pub fn rate_limited(mut self) -> Self {
        self.is_rate_limited = true;
        self
    }

    /// Requires one of these authentication schemes.
    #[must_use]
    pub fn security_schemes(mut self, schemes: &[&'static str]) -> Self {
        self.security.extend(schemes.iter().map(|name| SecurityRequirement::new(*name, [""; 0])));
        self
    }

    /// Permits calls without authentication as well.
    #[must_use]
    pub fn security_optional(mut self) -> Self {
        self.security.push(SecurityRequirement::default());
        self
    }

    /// The schemas that the operation refers to.
    pub(super) fn referenced_schemas(&self) -> impl Iterator<Item = &'static ObjectSchema> {
        self.body.map(|body| body.schema).into_iter().chain(self.success_bodies.iter().copied())
    }

    /// Whether the operation has parameters. An optional body does not count, since it is ignored.
    pub(super) fn parameters(&self) -> Parameters {
        let requires_body = self.body.is_some_and(|body| body.requirement == BodyRequirement::Required);
        if requires_body || !self.parameters.is_empty() { Parameters::Present } else { Parameters::Absent }
    }

    /// Builds the operation. `other_methods` are the accepted methods besides the documented one.
    pub(super) fn into_operation(mut self, api_info: &ApiInfo, other_methods: &[&str]) -> Operation {
        if !other_methods.is_empty() {
            let methods = other_methods.join("、");
            self.description.push_str(&format!("\n\n也可用 {methods} 调用。Also accepts {methods}."));
        }
        let responses = self.build_responses(api_info);
        OperationBuilder::new()
            .tag(D::NAME)
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description(Some(self.description.as_str()))
            .parameters(Some(self.parameters.iter().map(|(field, location)| build_parameter(field, location))))
            .request_body(self.body.map(build_request_body))
            .responses(responses)
            .securities(Some(self.security))
            .build()
    }

    fn build_responses(&self, api_info: &ApiInfo) -> Responses {
        let shared_reference =
            |status: StatusCode| error_responses::shared_error(status).map(|(name, _)| Ref::from_response_name(name));
        let mut responses = ResponsesBuilder::new().response("200", self.build_success_response());
        let mut statuses = Vec::new();
        if let Some(body) = self.body {
            // An optional body is read but ignored, so it cannot be invalid. An operation that parses its optional body
            // adds 400 by an error example.
            statuses.extend(match body.requirement {
                BodyRequirement::Required => [400, 408, 413].as_slice(),
                BodyRequirement::Optional => &[408, 413],
            });
        }
        if self.is_rate_limited {
            statuses.push(429);
        }
        statuses.extend([500, 503]);
        for status in statuses.into_iter().filter_map(|number| StatusCode::from_u16(number).ok()) {
            if let Some(reference) = shared_reference(status) {
                responses = responses.response(status.as_str(), RefOr::<Response>::Ref(reference));
            }
        }
        let error_statuses =
            self.error_examples.iter().map(|(status, ..)| *status).filter(|status| *status != StatusCode::OK);
        for status in error_statuses.collect::<std::collections::BTreeSet<_>>() {
            let examples = self.error_examples.iter().filter(|(other, ..)| *other == status);
            let examples = examples.map(|(_, name, value)| (name.clone(), value.clone())).collect();
            responses =
                responses.response(status.as_str(), error_responses::error_response(api_info, status, examples));
        }
        responses.build()
    }

    /// The 200 response, which in these dialects may also hold an error.
    fn build_success_response(&self) -> Response {
        let response = ResponseBuilder::new();
        if self.returns_png {
            let bytes =
                ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("binary".into())));
            let content = ContentBuilder::new().schema(Some(Schema::Object(bytes.build()))).build();
            return response.description("图片。An image.").content("image/png", content).build();
        }
        let success = self.success_bodies.first().map(|object| object.example());
        let mut examples: Vec<_> = success.map(|value| (SUCCESS_EXAMPLE_NAME.to_owned(), value)).into_iter().collect();
        let errors = self.error_examples.iter().filter(|(status, ..)| *status == StatusCode::OK);
        examples.extend(errors.map(|(_, name, value)| (name.clone(), value.clone())));
        let text = match examples.len() {
            0 | 1 => "成功。Success.",
            _ => "成功，或文档所列的业务错误。Success, or an error given by the code in the body.",
        };
        let content = error_responses::json_content(one_of_schema(&self.success_bodies), examples);
        let response = response.description(text).content(JSON_MEDIA_TYPE, content);
        let headers =
            self.success_headers.iter().map(|(name, text)| (*name, HeaderBuilder::new().description(Some(*text))));
        headers.fold(response, |all, (name, header)| all.header(name, header.build())).build()
    }
}

fn build_request_body(body: RequestBodyDescription) -> RequestBody {
    let example = body.schema.example();
    let content = || ContentBuilder::new().schema(Some(body.schema.reference())).example(Some(example.clone())).build();
    let required = match body.requirement {
        BodyRequirement::Required => Required::True,
        BodyRequirement::Optional => Required::False,
    };
    let start = RequestBodyBuilder::new().required(Some(required));
    body.media_types.iter().fold(start, |all, media_type| all.content(*media_type, content())).build()
}

fn build_parameter(field: &FieldSchema, location: &ParameterIn) -> Parameter {
    let required = if *location == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(field.name())
        .parameter_in(location.clone())
        .required(required)
        .description(Some(field.description()))
        .schema(Some(field.schema()))
        .build()
}

/// The name of an error's example in the OpenAPI document. The names are part of the document, so they do not follow
/// renamed variants.
fn example_name(error: &Error) -> &'static str {
    match error {
        Error::Invalid(_) => "Invalid",
        Error::UnknownUser => "UnknownUser",
        Error::WrongPassword => "WrongPassword",
        Error::Stale => "Stale",
        Error::Replayed => "Replayed",
        Error::Disabled => "Disabled",
        Error::ChallengeRequired => "ChallengeRequired",
        Error::ChallengeFailed => "ChallengeFailed",
        Error::WrongCode => "WrongCode",
        Error::CommonPassword => "CommonPassword",
        Error::IdentifierTaken => "IdentifierTaken",
        Error::TicketRefused => "TicketRefused",
        Error::NotAuthenticated => "NotAuthenticated",
        Error::NotAllowed => "NotAllowed",
        Error::RateLimited { .. } => "TooMany",
        Error::Busy { .. } => "Busy",
        Error::Unavailable(_) => "Unavailable",
        Error::Internal(_) => "Internal",
    }
}
