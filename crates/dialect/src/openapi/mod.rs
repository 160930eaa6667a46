//! What a dialect serves, as one list: each call with its path, its handler and its description. The routes and the
//! OpenAPI document are both made of it, so that neither has what the other lacks.
//!
//! Answers that refuse are rendered by the dialect itself; the examples of the others are those of their fields.

mod describe;
mod refusals;
mod schema;

use std::marker::PhantomData;

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{FromRequest, Handler, Resource, Responder};
use utoipa::openapi::path::{HttpMethod, PathItem};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApiBuilder, PathsBuilder};

use crate::dialect::Dialect;
use crate::server::endpoint;

pub use describe::Description;
pub use schema::{Field, Object};
pub use utoipa::openapi::OpenApi;
pub use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

/// What is said of a dialect as a whole.
#[derive(Debug)]
pub struct About {
    /// Its name, for people.
    pub title: &'static str,
    /// What it is and what its errors mean: paragraphs of Markdown.
    pub text: &'static [&'static str],
    /// What an answer is whose status is not 200.
    pub refusals: &'static [&'static Object],
    /// Schemas that no request or answer names, but the descriptions do.
    pub more: &'static [&'static Object],
    /// How callers may show who they are, by name.
    pub schemes: fn() -> Vec<(&'static str, SecurityScheme)>,
}

/// The calls of dialect `D`, in the order of its document.
pub struct Calls<D>(Vec<Call<D>>);

struct Call<D> {
    method: Method,
    path: String,
    resource: Resource,
    describe: fn() -> Description<D>,
    dialect: PhantomData<D>,
}

/// The methods that serve a call. One that takes parameters has one method: a password belongs in no query.
fn served_by(method: &Method, takes_nothing: bool) -> Vec<Method> {
    let get = [Method::GET, Method::HEAD];
    match (takes_nothing, method) {
        (true, _) => [get.as_slice(), &[Method::POST]].concat(),
        (false, &Method::GET) => get.into(),
        (false, other) => vec![other.clone()],
    }
}

impl<D: Dialect> Default for Calls<D> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<D: Dialect> Calls<D> {
    /// Adds a `POST` at `path`.
    #[must_use]
    pub fn post<F, Args>(self, path: &str, handler: F, describe: fn() -> Description<D>) -> Self
    where
        F: Handler<Args>,
        F::Output: Responder + 'static,
        Args: FromRequest + 'static,
    {
        self.at(Method::POST, path, path, handler, describe)
    }

    /// Adds a call that is documented at `path` with `method` and served wherever actix's `pattern` matches, by HEAD where
    /// it is by GET, and by GET and POST alike where it takes no parameters.
    #[must_use]
    pub fn at<F, Args>(
        mut self,
        method: Method,
        path: &str,
        pattern: &str,
        handler: F,
        describe: fn() -> Description<D>,
    ) -> Self
    where
        F: Handler<Args>,
        F::Output: Responder + 'static,
        Args: FromRequest + 'static,
    {
        let resource = endpoint::<D, _, _>(served_by(&method, describe().takes_nothing()), pattern, handler);
        self.0.push(Call { method, path: path.to_owned(), resource, describe, dialect: PhantomData });
        self
    }

    /// Serves them.
    pub fn serve(self, config: &mut ServiceConfig) {
        for call in self.0 {
            config.service(call.resource);
        }
    }

    /// Describes them.
    pub fn document(self, about: &About) -> OpenApi {
        let mut schemas = Vec::new();
        about.refusals.iter().chain(about.more).for_each(|object| object.collect(&mut schemas));
        let mut paths = PathsBuilder::new();
        for call in self.0 {
            let description = (call.describe)();
            description.objects().for_each(|object| object.collect(&mut schemas));
            let method = if call.method == Method::GET { HttpMethod::Get } else { HttpMethod::Post };
            let others = served_by(&call.method, description.takes_nothing());
            let others: Vec<_> = others.iter().filter(|other| **other != call.method).map(Method::as_str).collect();
            paths = paths.path(call.path, PathItem::new(method, description.operation(about, &others)));
        }
        let start = ComponentsBuilder::new();
        let components = schemas.into_iter().fold(start, |all, (name, schema)| all.schema(name, schema));
        let refusals = refusals::all::<D>(about);
        let components = refusals.into_iter().fold(components, |all, (name, answer)| all.response(name, answer));
        let schemes = (about.schemes)().into_iter();
        let components = schemes.fold(components, |all, (name, scheme)| all.security_scheme(name, scheme));
        let text = about.text.join("\n\n");
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
