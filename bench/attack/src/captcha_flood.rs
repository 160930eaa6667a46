//! Attack: denial of service by captchas. Requests pictures and disconnects before the response, so that the server
//! spends processor time on drawing.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stele_bench_kit::{DialectKind, Request, Result};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::Options;
use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::Target;

/// Most captchas that are issued: many, since each picture is served only a few times.
const CAPTCHAS: u64 = 200;
/// Clients that concurrently send a request and disconnect.
const CONCURRENCY: u64 = 64;
/// The longest acceptable response time for other clients during the flood.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(5);

/// Issues a captcha; returns the request for its picture.
async fn issue_captcha(target: &Target, index: u64) -> Result<Option<Request>> {
    let request = Request::get("/api/v1/Auth/getCAPTCHA").with_forwarded_for(target.fresh_client_address());
    let response = target.send_and_parse(index, DialectKind::Jwt, &request).await?;
    let id = response.json["data"]["id"].as_u64();
    Ok(id.map(|id| Request::get(&format!("/api/v1/Auth/CAPTCHA/{id}"))))
}

/// Sends up to 6,000 picture requests and disconnects, while other clients log in; then sends hundreds and waits for
/// the responses.
pub(crate) async fn flood_captchas(options: &Options, name: &str, target: &Target) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    let Some(picture) = issue_captcha(target, 0).await? else {
        result.require("a captcha is issued", false);
        return Ok(result);
    };
    let mut bodies = Vec::new();
    for index in 0..2 {
        let response = target.send(index, &picture.clone().with_forwarded_for(target.fresh_client_address())).await?;
        result.require("a picture is shown", response.header("content-type") == Some("image/png"));
        bodies.push(response.body);
    }
    // Two pictures of one captcha must be equal: the median of many pictures with new noise would be free of noise.
    result.let_through += u64::from(bodies[0] != bodies[1]);

    let mut pictures = Vec::new();
    for index in 0..CAPTCHAS.min(options.requests / 10) {
        pictures.extend(issue_captcha(target, index).await?);
    }
    if pictures.is_empty() {
        result.require("captchas are issued", false);
        return Ok(result);
    }
    let count = options.requests.min(6_000);
    let make_request = |number: u64| {
        let picture = &pictures[usize::try_from(number).unwrap_or_default() % pictures.len()];
        BurstRequest::new(
            target.gateway_address(number),
            picture.clone().with_forwarded_for(target.fresh_client_address()).to_bytes(),
        )
    };
    let flood = async {
        let mut sent = 0;
        while sent < count {
            let batch = (sent..(sent + CONCURRENCY).min(count)).map(|number| {
                let request = make_request(number);
                send_and_disconnect(request.destination, request.bytes)
            });
            futures_util::future::join_all(batch).await;
            sent += CONCURRENCY;
        }
    };
    let (_, legitimate) = futures_util::future::join(flood, send_legitimate_requests(target)).await;
    let (served, failed_or_slow) = legitimate?;
    result.sent += count;
    result.let_through += failed_or_slow;
    result.require("other clients are served during the flood", served > 0);

    let result = RefCell::new(result);
    send_burst(options, name, (options.requests / 20).max(100), make_request, |_, _, sent| {
        let mut result = result.borrow_mut();
        match sent {
            // Load shedding, with the time until a retry.
            Ok(response) if response.status == 503 && response.header("retry-after").is_some() => result.sent += 1,
            response => drop(result.count(response)),
        }
    })
    .await;
    let mut result = result.into_inner();
    let user = target.fresh_user()?;
    result.require(
        "JWT serves afterwards",
        target.can_log_in(0, DialectKind::Jwt, &user.email, target.fresh_client_address()).await?,
    );
    result.rejected = result.sent - result.server_errors;
    Ok(result.with_note(format!("other clients meanwhile: {served} served, {failed_or_slow} slow or failed")))
}

/// Sends a request and disconnects.
async fn send_and_disconnect(to: SocketAddr, bytes: Vec<u8>) {
    if let Ok(mut stream) = TcpStream::connect(to).await {
        // A server that closes early has received enough to start its work.
        let _ = stream.write_all(&bytes).await;
    }
}

/// Sends requests of other clients for 15 seconds, which should outlast the flood: logins, captchas and readiness
/// checks. Returns how many were served, and how many were rejected, failed or took too long.
async fn send_legitimate_requests(target: &Target) -> Result<(u64, u64)> {
    let (started_at, mut served, mut failed_or_slow) = (Instant::now(), 0, 0);
    let mut index = 0;
    while started_at.elapsed() < Duration::from_secs(15) {
        index += 1;
        let request = match index % 3 {
            0 => target.login_request(
                DialectKind::Cloudbox,
                &target.fresh_user()?.name,
                crate::target::PASSWORD,
                target.fresh_client_address(),
            ),
            // Needs no password hash.
            1 => Request::get("/api/v1/Auth/getCAPTCHA").with_forwarded_for(target.fresh_client_address()),
            _ => Request::get("/readyz"),
        };
        let sent_at = Instant::now();
        let succeeded = target.send(index, &request).await.is_ok_and(|response| response.status == 200);
        if succeeded && sent_at.elapsed() < MAX_RESPONSE_TIME {
            served += 1;
        } else {
            failed_or_slow += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok((served, failed_or_slow))
}
