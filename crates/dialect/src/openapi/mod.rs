//! What a dialect serves, as one list: each call with its path, its handler and its description. The routes and the
//! OpenAPI document are both made of it, so that neither has what the other lacks.
//!
//! Answers that refuse are rendered by the dialect itself; the examples of the others are those of their fields.

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
use crate::server::endpoint_resource;

pub use operation::OperationDescription;
pub use schema::{FieldSchema, ObjectSchema};
pub use utoipa::openapi::OpenApi;
pub use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

/// What is said of a dialect as a whole.
#[derive(Debug)]
pub struct ApiInfo {
    /// Its name, for people.
    pub title: &'static str,
    /// What it is and what its errors mean: paragraphs of Markdown.
    pub description: &'static [&'static str],
    /// What an answer is whose status is not 200.
    pub error_bodies: &'static [&'static ObjectSchema],
    /// Schemas that no request or answer names, but the descriptions do.
    pub extra_schemas: &'static [&'static ObjectSchema],
    /// How callers may show who they are, by name.
    pub security_schemes: fn() -> Vec<(&'static str, SecurityScheme)>,
}

/// The calls of dialect `D`, in the order of its document.
pub struct Endpoints<D>(Vec<Endpoint<D>>);

struct Endpoint<D> {
    method: Method,
    path: String,
    resource: Resource,
    description: fn() -> OperationDescription<D>,
    dialect: PhantomData<D>,
}

/// The methods that serve a call. One that takes parameters has one method: a password belongs in no query.
fn allowed_methods(method: &Method, takes_nothing: bool) -> Vec<Method> {
    let get = [Method::GET, Method::HEAD];
    match (takes_nothing, method) {
        (true, _) => [get.as_slice(), &[Method::POST]].concat(),
        (false, &Method::GET) => get.into(),
        (false, other) => vec![other.clone()],
    }
}

impl<D: Dialect> Default for Endpoints<D> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<D: Dialect> Endpoints<D> {
    /// Adds a `POST` at `path`.
    #[must_use]
    pub fn post<F, Args>(self, path: &str, handler: F, describe: fn() -> OperationDescription<D>) -> Self
    where
        F: Handler<Args>,
        F::Output: Responder + 'static,
        Args: FromRequest + 'static,
    {
        self.route(Method::POST, path, path, handler, describe)
    }

    /// Adds a call that is documented at `path` with `method` and served wherever actix's `pattern` matches, by HEAD where
    /// it is by GET, and by GET and POST alike where it takes no parameters.
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
            endpoint_resource::<D, _, _>(allowed_methods(&method, describe().has_no_parameters()), pattern, handler);
        self.0.push(Endpoint { method, path: path.to_owned(), resource, description: describe, dialect: PhantomData });
        self
    }

    /// Serves them.
    pub fn configure(self, config: &mut ServiceConfig) {
        for call in self.0 {
            config.service(call.resource);
        }
    }

    /// Describes them.
    pub fn openapi_document(self, about: &ApiInfo) -> OpenApi {
        let mut schemas = Vec::new();
        about.error_bodies.iter().chain(about.extra_schemas).for_each(|object| object.collect_schemas(&mut schemas));
        let mut paths = PathsBuilder::new();
        for call in self.0 {
            let description = (call.description)();
            description.referenced_objects().for_each(|object| object.collect_schemas(&mut schemas));
            let method = if call.method == Method::GET { HttpMethod::Get } else { HttpMethod::Post };
            let others = allowed_methods(&call.method, description.has_no_parameters());
            let others: Vec<_> = others.iter().filter(|other| **other != call.method).map(Method::as_str).collect();
            paths = paths.path(call.path, PathItem::new(method, description.into_operation(about, &others)));
        }
        let start = ComponentsBuilder::new();
        let components = schemas.into_iter().fold(start, |all, (name, schema)| all.schema(name, schema));
        let refusals = error_responses::shared_responses::<D>(about);
        let components = refusals.into_iter().fold(components, |all, (name, answer)| all.response(name, answer));
        let schemes = (about.security_schemes)().into_iter();
        let components = schemes.fold(components, |all, (name, scheme)| all.security_scheme(name, scheme));
        let text = about.description.join("\n\n");
        let info = InfoBuilder::new().title(about.title).version(env!("CARGO_PKG_VERSION"));
        // Without a summary: OpenAPI 3.1 knows none.
        let tag = TagBuilder::new().name(D::NAME).description(Some(format!("{}：{text}", about.title)));
        OpenApiBuilder::new()
            .info(info.description(Some(text)).build())
            .paths(paths)
            .components(Some(components.build()))
            .tags(Some([tag.build()]))
            .build()
    }
}
