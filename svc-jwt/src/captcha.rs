//! The handlers for captchas: issue one, and serve its image.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::UseCases;
use stele_core::usecase::RequestInfo;
use stele_dialect::{ClientAddress, Dialect as _, IgnoredBody};

use crate::dialect::{HandlerResult, Jwt, server_error_response};
use crate::{DialectState, wire};

const CAPTCHA_FAILED_TEXT: &str = "获取验证码失败";

/// 生成验证码 by GET, as in the API document's text.
pub(crate) async fn issue(
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
    state: Data<DialectState>,
) -> HandlerResult {
    match use_cases.issue_captcha(&RequestInfo::from_client(Jwt::NAME, address)).await {
        // The URL never contains the Host header, which the client controls (docs/THREATS.md 39).
        Ok(id) => Ok(wire::captcha_response(id, &format!("{}/api/v1/Auth/CAPTCHA/{id}", state.public_url))),
        Err(error) => server_error_response(error, CAPTCHA_FAILED_TEXT),
    }
}

/// 生成验证码 by POST, as in the API document's sample, without parameters.
pub(crate) async fn issue_by_post(
    _: IgnoredBody,
    address: ClientAddress,
    use_cases: Data<UseCases>,
    state: Data<DialectState>,
) -> HandlerResult {
    issue(address, use_cases, state).await
}

/// Serves the image of a captcha up to five times. A view does not consume the captcha.
pub(crate) async fn serve_image(
    request: HttpRequest,
    use_cases: Data<UseCases>,
    state: Data<DialectState>,
) -> HandlerResult {
    let id = request.match_info().get("id").and_then(wire::parse_captcha_id);
    let rendering = async {
        let Some(id) = id else { return Ok(None) };
        // The slot is reserved before the view is counted, so that a rejected request counts no view.
        let slot = state.captcha_renderer.reserve()?;
        match use_cases.view_captcha(id).await? {
            Some(image) => slot.render_png(image).await.map(Some),
            None => Ok(None),
        }
    };
    match rendering.await {
        Ok(Some(png)) => Ok(png_response(png)),
        Ok(None) => Ok(wire::error_response(StatusCode::NOT_FOUND, CAPTCHA_FAILED_TEXT)),
        Err(error) => server_error_response(error, CAPTCHA_FAILED_TEXT),
    }
}

fn png_response(png: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "image/png"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(png)
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError as _;
    use actix_web::test::TestRequest;
    use stele_core::oauth::SigningAlgorithm;
    use stele_jose::{KeySet, LoginTokens};
    use stele_testkit::TestLab;

    use super::*;
    use crate::captcha_image::CaptchaRenderer;

    #[tokio::test]
    async fn a_busy_response_does_not_count_as_a_view() {
        let lab = TestLab::new().await;
        let caller = RequestInfo::from_client(Jwt::NAME, [192, 0, 2, 1].into());
        let id = lab.use_cases().issue_captcha(&caller).await.unwrap();
        let tokens = LoginTokens::new(&KeySet::empty(&[]), SigningAlgorithm::EdDsa, "stele");
        let state = Data::new(DialectState {
            tokens,
            public_url: String::new(),
            captcha_renderer: CaptchaRenderer::start().unwrap(),
        });
        let use_cases = Data::new(lab.use_cases().clone());
        let request_image = async || {
            let request = TestRequest::default().param("id", id.to_string()).to_http_request();
            let response = serve_image(request, use_cases.clone(), state.clone()).await;
            response.unwrap_or_else(|error| error.error_response()).status().as_u16()
        };
        let all_slots: Vec<_> = std::iter::from_fn(|| state.captcha_renderer.reserve().ok()).collect();
        for _ in 0..10 {
            assert_eq!(request_image().await, 503);
        }
        drop(all_slots);
        for view in 0..5 {
            assert_eq!(request_image().await, 200, "{view}");
        }
        assert_eq!(request_image().await, 404);
    }
}
