//! Routes of endpoints: path pattern, methods, and the label in metrics and traces.

use std::sync::Arc;

use actix_web::guard::fn_guard;
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{FromRequest, Handler, Resource, Responder, web};

use crate::dialect::{Dialect, RequestRejection};
use crate::request_scope::RoutePattern;

/// Routes `methods` of `path` to `handler`. Other methods get 405 in the dialect's format, with `Allow` (RFC 9110
/// §15.5.6).
pub(crate) fn endpoint_resource<D: Dialect, F, Args>(methods: Vec<Method>, path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    let method_names: Vec<_> = methods.iter().map(Method::as_str).collect();
    let allow = HeaderValue::from_str(&method_names.join(", ")).ok();
    let reject_method = move || {
        let mut response = D::render_rejection(&RequestRejection::MethodNotAllowed);
        if let Some(allow) = &allow {
            response.headers_mut().insert(ALLOW, allow.clone());
        }
        std::future::ready(response)
    };
    let route = RoutePattern(Arc::new(route_label(path)));
    let endpoint = web::route().guard(fn_guard(move |request| methods.contains(&request.head().method)));
    web::resource(path).app_data(route).route(endpoint.to(handler)).default_service(web::to(reject_method))
}

/// Routes `pattern` to `handler`, whatever the method, outside the OpenAPI document: an endpoint for programs beside the
/// server, not for clients. `label` names the route in metrics and traces.
pub fn internal_resource<F, Args>(pattern: &str, label: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    web::resource(pattern).app_data(RoutePattern(Arc::new(label.to_owned()))).to(handler)
}

/// The route label of metrics and traces: the path pattern with `(?i:…)` groups replaced by their text.
fn route_label(pattern: &str) -> String {
    let label_segment = |segment: &str| match segment.split_once(":(?i:") {
        Some((_, text)) => text.trim_end_matches(")}").to_owned(),
        None => segment.to_owned(),
    };
    pattern.split('/').map(label_segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_insensitive_patterns_become_plain_route_labels() {
        assert_eq!(route_label("/i/login"), "/i/login");
        assert_eq!(route_label("/{api:(?i:api)}/{operation:(?i:Login)}/{id}"), "/api/Login/{id}");
    }
}
