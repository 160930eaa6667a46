//! What is said of one call.

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
use super::{ApiInfo, FieldSchema, ObjectSchema};
use crate::dialect::{Dialect, status_for_error};

/// The forms in which every body is read alike.
const BODY_MEDIA_TYPES: [&str; 3] = [JSON_MEDIA_TYPE, "application/x-www-form-urlencoded", "multipart/form-data"];

/// Examples are sorted by name, and this one is to be shown first.
const SUCCESS_EXAMPLE_NAME: &str = "0 Success";

/// What is said of one call of dialect `D`.
pub struct OperationDescription<D> {
    id: &'static str,
    summary: &'static str,
    description: String,
    /// The body, and whether it must be there.
    body: Option<(&'static ObjectSchema, bool)>,
    parameters: Vec<(FieldSchema, ParameterIn)>,
    success_bodies: Vec<&'static ObjectSchema>,
    returns_png: bool,
    success_headers: &'static [(&'static str, &'static str)],
    error_examples: Vec<(StatusCode, String, Value)>,
    is_rate_limited: bool,
    security: Vec<SecurityRequirement>,
    dialect: PhantomData<D>,
}

impl<D: Dialect> OperationDescription<D> {
    /// A call named `id`: `summary` says what it does in the document's words, `text` in English, and what else there
    /// is to know.
    pub fn new(id: &'static str, summary: &'static str, text: impl Into<String>) -> Self {
        Self {
            id,
            summary,
            description: text.into(),
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

    /// It takes this body, in any of the forms.
    #[must_use]
    pub fn required_body(mut self, object: &'static ObjectSchema) -> Self {
        self.body = Some((object, true));
        self
    }

    /// It takes this body, or none.
    #[must_use]
    pub fn optional_body(mut self, object: &'static ObjectSchema) -> Self {
        self.body = Some((object, false));
        self
    }

    /// It takes this in the query string.
    #[must_use]
    pub fn query_parameters(mut self, fields: &[FieldSchema]) -> Self {
        self.parameters.extend(fields.iter().map(|field| (*field, ParameterIn::Query)));
        self
    }

    /// It takes this in its path.
    #[must_use]
    pub fn path_parameter(mut self, field: FieldSchema) -> Self {
        self.parameters.push((field, ParameterIn::Path));
        self
    }

    /// With 200 it answers one of these.
    #[must_use]
    pub fn success_bodies<const N: usize>(mut self, objects: [&'static ObjectSchema; N]) -> Self {
        self.success_bodies = objects.into();
        self
    }

    /// With 200 it answers a picture.
    #[must_use]
    pub fn png_body(mut self) -> Self {
        self.returns_png = true;
        self
    }

    /// Its 200 has these headers: names, and what they hold.
    #[must_use]
    pub fn success_headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.success_headers = headers;
        self
    }

    /// It may be refused for these reasons.
    #[must_use]
    pub fn error_examples(mut self, errors: impl IntoIterator<Item = Error>) -> Self {
        for error in errors {
            self.error_examples.push((
                status_for_error(&error),
                example_name(&error),
                error_responses::parse_json_body(D::render_error(&error)),
            ));
        }
        self
    }

    /// It may be refused with this answer.
    #[must_use]
    pub fn error_example(mut self, name: &str, response: HttpResponse) -> Self {
        self.error_examples.push((response.status(), name.to_owned(), error_responses::parse_json_body(response)));
        self
    }

    /// Callers of it may have to wait.
    #[must_use]
    pub fn rate_limited(mut self) -> Self {
        self.is_rate_limited = true;
        self
    }

    /// Callers show one of these schemes.
    #[must_use]
    pub fn security_schemes(mut self, schemes: &[&'static str]) -> Self {
        self.security.extend(schemes.iter().map(|name| SecurityRequirement::new(*name, [""; 0])));
        self
    }

    /// Or none.
    #[must_use]
    pub fn security_optional(mut self) -> Self {
        self.security.push(SecurityRequirement::default());
        self
    }

    /// The objects that it names.
    pub(super) fn referenced_objects(&self) -> impl Iterator<Item = &'static ObjectSchema> {
        self.body.map(|(object, _)| object).into_iter().chain(self.success_bodies.iter().copied())
    }

    /// Whether it takes no parameters: whatever is sent with it is not looked at.
    pub(super) fn has_no_parameters(&self) -> bool {
        self.body.is_none_or(|(_, required)| !required) && self.parameters.is_empty()
    }

    /// The operation; `others`: the methods that serve it beside the documented one.
    pub(super) fn into_operation(mut self, about: &ApiInfo, others: &[&str]) -> Operation {
        if !others.is_empty() {
            let others = others.join("、");
            self.description.push_str(&format!("\n\n也可用 {others} 调用。Served by {others} as well."));
        }
        let responses = self.responses(about);
        OperationBuilder::new()
            .tag(D::NAME)
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description(Some(self.description.as_str()))
            .parameters(Some(self.parameters.iter().map(|(field, place)| parameter(field, place))))
            .request_body(self.body.map(|(object, required)| self.request_body(object, required)))
            .responses(responses)
            .securities(Some(self.security))
            .build()
    }

    fn request_body(&self, object: &'static ObjectSchema, required: bool) -> RequestBody {
        let example = object.example();
        let content = |_| ContentBuilder::new().schema(Some(object.reference())).example(Some(example.clone())).build();
        let start = RequestBodyBuilder::new().required(Some(if required { Required::True } else { Required::False }));
        BODY_MEDIA_TYPES.iter().fold(start, |body, form| body.content(*form, content(form))).build()
    }

    fn responses(&self, about: &ApiInfo) -> Responses {
        let shared =
            |status: StatusCode| error_responses::shared_error(status).map(|(name, _)| Ref::from_response_name(name));
        let mut all = ResponsesBuilder::new().response("200", self.success_response());
        let mut statuses = Vec::new();
        if let Some((_, required)) = self.body {
            // What need not be there is not looked at either, unless the call tells that it is.
            statuses.extend(if required { [400, 408, 413].as_slice() } else { &[408, 413] });
        }
        if self.is_rate_limited {
            statuses.push(429);
        }
        statuses.extend([500, 503]);
        for status in statuses.into_iter().filter_map(|number| StatusCode::from_u16(number).ok()) {
            if let Some(reference) = shared(status) {
                all = all.response(status.as_str(), RefOr::<Response>::Ref(reference));
            }
        }
        let error_statuses =
            self.error_examples.iter().map(|(status, ..)| *status).filter(|status| *status != StatusCode::OK);
        for status in error_statuses.collect::<std::collections::BTreeSet<_>>() {
            let examples = self.error_examples.iter().filter(|(other, ..)| *other == status);
            let examples = examples.map(|(_, name, value)| (name.clone(), value.clone())).collect();
            all = all.response(status.as_str(), error_responses::error_response(about, status, examples));
        }
        all.build()
    }

    /// What is answered with 200, which in these dialects is not always a success.
    fn success_response(&self) -> Response {
        let response = ResponseBuilder::new();
        if self.returns_png {
            let bytes =
                ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("binary".into())));
            let content = ContentBuilder::new().schema(Some(Schema::Object(bytes.build()))).build();
            return response.description("图片。A picture.").content("image/png", content).build();
        }
        let success = self.success_bodies.first().map(|object| object.example());
        let mut examples: Vec<_> = success.map(|value| (SUCCESS_EXAMPLE_NAME.to_owned(), value)).into_iter().collect();
        let refused = self.error_examples.iter().filter(|(status, ..)| *status == StatusCode::OK);
        examples.extend(refused.map(|(_, name, value)| (name.clone(), value.clone())));
        let text = match examples.len() {
            0 | 1 => "成功。Success.",
            _ => "成功，或文档所列的业务错误。Success, or an error that the dialect tells in its body.",
        };
        let content = error_responses::json_content(one_of_schema(&self.success_bodies), examples);
        let response = response.description(text).content(JSON_MEDIA_TYPE, content);
        let named =
            self.success_headers.iter().map(|(name, about)| (*name, HeaderBuilder::new().description(Some(*about))));
        named.fold(response, |all, (name, header)| all.header(name, header.build())).build()
    }
}

fn parameter(field: &FieldSchema, place: &ParameterIn) -> Parameter {
    let required = if *place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(field.name())
        .parameter_in(place.clone())
        .required(required)
        .description(Some(field.description()))
        .schema(Some(field.schema()))
        .build()
}

/// The key of an error's example in the OpenAPI document: the variant's name, but one that is older than the variant.
fn example_name(error: &Error) -> String {
    if let Error::RateLimited { .. } = error {
        return "TooMany".to_owned();
    }
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}
