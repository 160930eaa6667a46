//! Captchas: issuing one, and showing its picture.

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

/// 生成验证码, as the document's text has it.
pub(crate) async fn issue(
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
    setup: Data<DialectState>,
) -> HandlerResult {
    match use_cases.issue_captcha(&RequestInfo::from_client(Jwt::NAME, address)).await {
        // Never made of the request's Host, which anyone may write (ATTACKS 39).
        Ok(id) => Ok(wire::captcha_response(id, &format!("{}/api/v1/Auth/CAPTCHA/{id}", setup.public_url))),
        Err(error) => server_error_response(error, CAPTCHA_FAILED_TEXT),
    }
}

/// 生成验证码, as the document's sample has it. It takes no parameters.
pub(crate) async fn issue_by_post(
    _: IgnoredBody,
    address: ClientAddress,
    use_cases: Data<UseCases>,
    setup: Data<DialectState>,
) -> HandlerResult {
    issue(address, use_cases, setup).await
}

/// The picture, a few times. Looking at it does not use the captcha up.
pub(crate) async fn image(request: HttpRequest, use_cases: Data<UseCases>, setup: Data<DialectState>) -> HandlerResult {
    let id = request.match_info().get("id").and_then(wire::parse_captcha_id);
    let drawn = async {
        let Some(id) = id else { return Ok(None) };
        // Before the view is counted: one that is refused as busy has shown nothing.
        let place = setup.captcha_renderer.reserve()?;
        match use_cases.view_captcha(id).await? {
            Some(picture) => place.render_png(picture).await.map(Some),
            None => Ok(None),
        }
    };
    match drawn.await {
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
    use std::sync::Arc;

    use actix_web::ResponseError as _;
    use actix_web::test::TestRequest;
    use stele_testkit::TestLab;

    use super::*;
    use crate::captcha_image::CaptchaRenderer;
    use crate::keys::{Algorithm, SigningKeys};
    use crate::tokens::TokenManager;

    #[tokio::test]
    async fn a_busy_response_does_not_count_as_a_view() {
        let lab = TestLab::new().await;
        let caller = RequestInfo::from_client(Jwt::NAME, [192, 0, 2, 1].into());
        let id = lab.use_cases().issue_captcha(&caller).await.unwrap();
        let tokens = TokenManager::new(Arc::new(SigningKeys::empty(Algorithm::EdDsa)), "stele");
        let setup = Data::new(DialectState {
            tokens,
            public_url: String::new(),
            captcha_renderer: CaptchaRenderer::start().unwrap(),
        });
        let use_cases = Data::new(lab.use_cases().clone());
        let ask = async || {
            let request = TestRequest::default().param("id", id.to_string()).to_http_request();
            let reply = image(request, use_cases.clone(), setup.clone()).await;
            reply.unwrap_or_else(|failure| failure.error_response()).status().as_u16()
        };
        let all_places: Vec<_> = std::iter::from_fn(|| setup.captcha_renderer.reserve().ok()).collect();
        for _ in 0..10 {
            assert_eq!(ask().await, 503);
        }
        drop(all_places);
        for shown in 0..5 {
            assert_eq!(ask().await, 200, "{shown}");
        }
        assert_eq!(ask().await, 404);
    }
}
