//! The endpoints of a dialect as one list: path, handler and description. Both the routes and the OpenAPI document are
//! generated from this list, so they cannot differ.
//!
//! Examples of error responses are rendered by the dialect; those of success responses are built from their fields.

mod error_responses;
mod operation;
mod schema;

use std::marker::PhantomData;

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{FromRequest, Handler, Resource, Responder};
use utoipa::openapi::path::{HttpMethod, PathItem};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApiBuilder, PathsBuilder};

use crate::dialect::Dialect;
use crate::resource::endpoint_resource;

pub use operation::OperationDescription;
pub use schema::{FieldSchema, ObjectSchema};
pub use utoipa::openapi::OpenApi;
pub use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

/// The description of a dialect as a whole.
#[derive(Debug)]
pub struct ApiInfo {
    /// The display name.
    pub title: &'static str,
    /// Paragraphs of Markdown: what the API does and what its error codes mean.
    pub description: &'static [&'static str],
    /// The possible bodies of a response whose status is not 200.
    pub error_bodies: &'static [&'static ObjectSchema],
    /// Schemas that only descriptions refer to.
    pub extra_schemas: &'static [&'static ObjectSchema],
    /// The authentication schemes, by name.
    pub security_schemes: fn() -> Vec<(&'static str, SecurityScheme)>,
}

/// The endpoints of dialect `D`, in the order of its API document.
pub struct Endpoints<D>(Vec<Endpoint<D>>);

struct Endpoint<D> {
    method: Method,
    path: String,
    resource: Resource,
    description: fn() -> OperationDescription<D>,
    dialect: PhantomData<D>,
}

/// Whether an operation has parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameters {
    Absent,
    Present,
}

/// The methods of an operation documented with `method`. An operation with parameters accepts no GET in place of POST,
/// so that no password gets into a query string.
fn allowed_methods(method: &Method, parameters: Parameters) -> Vec<Method> {
    let get = [Method::GET, Method::HEAD];
    match (parameters, method) {
        (Parameters::Absent, _) => [get.as_slice(), &[Method::POST]].concat(),
        (Parameters::Present, &Method::GET) => get.into(),
        (Parameters::Present, other) => vec![other.clone()],
    }
}

impl<D: Dialect> Default for Endpoints<D> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<D: Dialect> Endpoints<D> {
    /// Adds an endpoint for `POST path`.
    #[must_use]
    pub fn post<F, Args>(self, path: &str, handler: F, describe: fn() -> OperationDescription<D>) -> Self
    where
        F: Handler<Args>,
        F::Output: Responder + 'static,
        Args: FromRequest + 'static,
    {
        self.route(Method::POST, path, path, handler, describe)
    }

    /// Adds an endpoint that is documented as `method path` and served where actix's `pattern` matches. GET implies
    /// HEAD; an operation without parameters accepts GET and POST.
    #[must_use]
    pub fn route<F, Args>(
        mut self,
        method: Method,
        path: &str,
        pattern: &str,
        handler: F,
        describe: fn() -> OperationDescription<D>,
    ) -> Self
    where
        F: Handler<Args>,
        F::Output: Responder + 'static,
        Args: FromRequest + 'static,
    {
        let resource =
            endpoint_resource::<D, _, _>(allowed_methods(&method, describe().parameters()), pattern, handler);
        self.0.push(Endpoint { method, path: path.to_owned(), resource, description: describe, dialect: PhantomData });
        self
    }

    /// Registers the endpoints.
    pub fn configure(self, config: &mut ServiceConfig) {
        for endpoint in self.0 {
            config.service(endpoint.resource);
        }
    }

    /// Generates the OpenAPI document.
    pub fn openapi_document(self, api_info: &ApiInfo) -> OpenApi {
        let mut schemas = Vec::new();
        api_info
            .error_bodies
            .iter()
            .chain(api_info.extra_schemas)
            .for_each(|object| object.collect_schemas(&mut schemas));
        let mut paths = PathsBuilder::new();
        for endpoint in self.0 {
            let description = (endpoint.description)();
            description.referenced_schemas().for_each(|object| object.collect_schemas(&mut schemas));
            let method = if endpoint.method == Method::GET { HttpMethod::Get } else { HttpMethod::Post };
            let methods = allowed_methods(&endpoint.method, description.parameters());
            let other_methods: Vec<_> =
                methods.iter().filter(|other| **other != endpoint.method).map(Method::as_str).collect();
            paths =
                paths.path(endpoint.path, PathItem::new(method, description.into_operation(api_info, &other_methods)));
        }
        let builder = ComponentsBuilder::new();
        let components = schemas.into_iter().fold(builder, |all, (name, schema)| all.schema(name, schema));
        let responses = error_responses::shared_responses::<D>(api_info);
        let components = responses.into_iter().fold(components, |all, (name, response)| all.response(name, response));
        let schemes = (api_info.security_schemes)().into_iter();
        let components = schemes.fold(components, |all, (name, scheme)| all.security_scheme(name, scheme));
        let text = api_info.description.join("\n\n");
        let info = InfoBuilder::new().title(api_info.title).version(env!("CARGO_PKG_VERSION"));
        // Without a summary, which OpenAPI 3.1 does not have.
        let tag = TagBuilder::new().name(D::NAME).description(Some(format!("{}：{text}", api_info.title)));
        OpenApiBuilder::new()
            .info(info.description(Some(text)).build())
            .paths(paths)
            .components(Some(components.build()))
            .tags(Some([tag.build()]))
            .build()
    }
}
