//! Captchas: issuing one, and showing its picture.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::UseCases;
use stele_core::usecase::Caller;
use stele_dialect::{ClientAddress, Dialect as _, IgnoredBody};

use crate::dialect::{Jwt, Reply, broken};
use crate::{Setup, wire};

const FAILED: &str = "获取验证码失败";

/// 生成验证码, as the text of the API document has it (`docs/PROTOCOLS.md`, JWT).
pub(crate) async fn issue(
    ClientAddress(address): ClientAddress,
    use_cases: Data<UseCases>,
    setup: Data<Setup>,
) -> Reply {
    match use_cases.issue_captcha(&Caller::direct(Jwt::NAME, address)).await {
        // Never made of the request's Host, which anyone may write (`docs/THREATS.md` 39).
        Ok(id) => Ok(wire::captcha(id, &format!("{}/api/v1/Auth/CAPTCHA/{id}", setup.public_url))),
        Err(error) => broken(error, FAILED),
    }
}

/// 生成验证码, as the sample in the API document has it. It takes no parameters.
pub(crate) async fn issue_by_post(
    _: IgnoredBody,
    address: ClientAddress,
    use_cases: Data<UseCases>,
    setup: Data<Setup>,
) -> Reply {
    issue(address, use_cases, setup).await
}

/// The picture, a few times. Looking at it does not use the captcha up.
pub(crate) async fn picture(request: HttpRequest, use_cases: Data<UseCases>, setup: Data<Setup>) -> Reply {
    let id = request.match_info().get("id").and_then(wire::captcha_id);
    let drawn = async {
        let Some(id) = id else { return Ok(None) };
        // Before the view is counted: one that is refused as busy has shown nothing.
        let place = setup.painter.reserve()?;
        match use_cases.view_captcha(id).await? {
            Some(picture) => place.png(picture).await.map(Some),
            None => Ok(None),
        }
    };
    match drawn.await {
        Ok(Some(png)) => Ok(png_response(png)),
        Ok(None) => Ok(wire::failure(StatusCode::NOT_FOUND, FAILED)),
        Err(error) => broken(error, FAILED),
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
    use stele_testkit::Lab;

    use super::*;
    use crate::keys::{Algorithm, Keys};
    use crate::picture::Painter;
    use crate::tokens::Tokens;

    #[tokio::test]
    async fn a_picture_that_is_refused_as_busy_is_not_counted_as_shown() {
        let lab = Lab::new().await;
        let caller = Caller::direct(Jwt::NAME, [192, 0, 2, 1].into());
        let id = lab.use_cases().issue_captcha(&caller).await.unwrap();
        let tokens = Tokens::new(Arc::new(Keys::none(Algorithm::EdDsa)), "stele");
        let setup = Data::new(Setup { tokens, public_url: String::new(), painter: Painter::start().unwrap() });
        let use_cases = Data::new(lab.use_cases().clone());
        let ask = async || {
            let request = TestRequest::default().param("id", id.to_string()).to_http_request();
            let reply = picture(request, use_cases.clone(), setup.clone()).await;
            reply.unwrap_or_else(|failure| failure.error_response()).status().as_u16()
        };
        let all_places: Vec<_> = std::iter::from_fn(|| setup.painter.reserve().ok()).collect();
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
