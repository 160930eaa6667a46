//! Captchas: issuing one, and drawing its picture.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use captcha::Captcha;
use captcha::filters::{Dots, Noise, Wave};
use stele_core::usecase::{Caller, captcha as usecase};
use stele_core::{Deps, Error};
use stele_web::{ClientAddress, Dialect as _, Fields};

use crate::account::merged;
use crate::dialect::{Jwt, Reply, broken};
use crate::{Setup, wire};

const FAILED: &str = "获取验证码失败";
const WIDTH: u32 = 260;
const HEIGHT: u32 = 120;
/// How far the letters swing, in pixels.
const WAVE: u32 = 10;

/// 生成验证码, as the document's text has it.
pub(crate) async fn issue(ClientAddress(address): ClientAddress, deps: Data<Deps>, setup: Data<Setup>) -> Reply {
    match usecase::issue(&deps, &Caller::direct(Jwt::NAME, address)).await {
        // Never made of the request's Host, which anyone may write (ATTACKS 39).
        Ok(id) => Ok(wire::captcha(id, &format!("{}/api/v1/Auth/CAPTCHA/{id}", setup.public_url))),
        Err(error) => broken(error, FAILED),
    }
}

/// 生成验证码, as the document's sample has it. It takes no parameters, but what comes must be readable.
pub(crate) async fn issue_by_post(
    request: HttpRequest,
    fields: Fields,
    address: ClientAddress,
    deps: Data<Deps>,
    setup: Data<Setup>,
) -> Reply {
    merged(&request, fields)?;
    issue(address, deps, setup).await
}

/// The picture. Looking at it does not use the captcha up.
pub(crate) async fn picture(request: HttpRequest, deps: Data<Deps>, setup: Data<Setup>) -> Reply {
    let id = request.match_info().get("id").and_then(wire::captcha_id);
    let text = match id {
        Some(id) => usecase::text(&deps, id).await,
        None => Ok(None),
    };
    match text {
        Ok(Some(text)) => {
            // Drawing takes milliseconds, in which a worker could answer others.
            let slot = setup.drawing.clone().acquire_owned().await.map_err(Error::internal)?;
            let drawn = web::block(move || (draw(&text), slot)).await.map_err(Error::internal)?;
            Ok(png_response(drawn.0.ok_or_else(|| Error::internal("a captcha could not be drawn"))?))
        }
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

/// A picture of `text` in which a person can read it.
fn draw(text: &str) -> Option<Vec<u8>> {
    let mut captcha = Captcha::new();
    for letter in text.chars() {
        // The library draws a random one of the letters it is given: give it one.
        captcha.set_chars(&[letter]).add_char();
    }
    captcha
        .apply_filter(Noise::new(0.2))
        .apply_filter(Wave::new(2.0, WAVE.into()).horizontal())
        .apply_filter(Wave::new(2.0, WAVE.into()).vertical())
        .view(WIDTH, HEIGHT)
        .apply_filter(Dots::new(8).min_radius(2).max_radius(4))
        .as_png()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_can_be_drawn() {
        let drawn = Captcha::new().supported_chars();
        for letter in "abcdefghjkmnpqrstuvwxy3456789".chars() {
            assert!(drawn.contains(&letter), "{letter}");
        }
    }

    #[test]
    fn the_widest_text_fits() {
        let mut captcha = Captcha::new();
        for letter in "mwmwm".chars() {
            captcha.set_chars(&[letter]).add_char();
        }
        let area = captcha.text_area();
        assert!(area.right - area.left + 2 * WAVE < WIDTH, "{area:?}");
        assert_eq!(captcha.chars_as_string(), "mwmwm");
    }

    #[test]
    fn a_picture_is_a_png() {
        let png = draw("abc34").unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    }
}
