//! Having pictures of captchas drawn, without waiting for them.

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

/// How many captchas are looked at; each is shown a few times only.
const CAPTCHAS: u64 = 200;
/// How many requests are sent and left at once.
const CONCURRENCY: u64 = 64;
/// How long others may wait meanwhile.
const MAX_LOGIN_DELAY: Duration = Duration::from_secs(5);

/// A captcha's picture.
async fn issue_captcha(fleet: &Target, turn: u64) -> Result<Option<Request>> {
    let ask = Request::get("/api/v1/Auth/getCAPTCHA").with_forwarded_for(fleet.fresh_client_address());
    let response = fleet.dialect_request(turn, DialectKind::Jwt, &ask).await?;
    let id = response.json["data"]["id"].as_u64();
    Ok(id.map(|id| Request::get(&format!("/api/v1/Auth/CAPTCHA/{id}"))))
}

/// Thousands of requests for pictures whose answers are not waited for, while others log in; then hundreds that wait.
pub(crate) async fn flood_captchas(options: &Options, name: &str, fleet: &Target) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    let Some(picture) = issue_captcha(fleet, 0).await? else {
        row.require("a captcha is issued", false);
        return Ok(row);
    };
    let mut bytes = Vec::new();
    for turn in 0..2 {
        let answer = fleet.request(turn, &picture.clone().with_forwarded_for(fleet.fresh_client_address())).await?;
        row.require("a picture is shown", answer.header("content-type") == Some("image/png"));
        bytes.push(answer.body);
    }
    // Of many pictures with fresh noise the median is without any.
    row.let_through += u64::from(bytes[0] != bytes[1]);

    let mut pictures = Vec::new();
    for turn in 0..CAPTCHAS.min(options.requests / 10) {
        pictures.extend(issue_captcha(fleet, turn).await?);
    }
    if pictures.is_empty() {
        row.require("captchas are issued", false);
        return Ok(row);
    }
    let count = options.requests.min(6_000);
    let send = |number: u64| {
        let picture = &pictures[usize::try_from(number).unwrap_or_default() % pictures.len()];
        BurstRequest::new(
            fleet.entry_address(number),
            picture.clone().with_forwarded_for(fleet.fresh_client_address()).to_bytes(),
        )
    };
    let flood = async {
        let mut sent = 0;
        while sent < count {
            let batch = (sent..(sent + CONCURRENCY).min(count)).map(|number| {
                let shot = send(number);
                send_and_disconnect(shot.to, shot.bytes)
            });
            futures_util::future::join_all(batch).await;
            sent += CONCURRENCY;
        }
    };
    let (_, others) = futures_util::future::join(flood, logins_meanwhile(fleet)).await;
    let (served, slow) = others?;
    row.sent += count;
    row.let_through += slow;
    row.require("others are looked at meanwhile", served > 0);

    let row = RefCell::new(row);
    send_burst(options, name, (options.requests / 20).max(100), send, |_, _, sent| {
        let mut row = row.borrow_mut();
        match sent {
            // It says when to come back.
            Ok(answer) if answer.status == 503 && answer.header("retry-after").is_some() => row.sent += 1,
            other => drop(row.count(other)),
        }
    })
    .await;
    let mut row = row.into_inner();
    let person = fleet.fresh_user()?;
    row.require(
        "JWT serves afterwards",
        fleet.can_log_in(0, DialectKind::Jwt, &person.email, fleet.fresh_client_address()).await?,
    );
    row.rejected = row.sent - row.server_errors;
    Ok(row.with_note(format!("{served} others were served meanwhile, {slow} were not")))
}

/// Sends a request and hangs up.
async fn send_and_disconnect(to: SocketAddr, bytes: Vec<u8>) {
    if let Ok(mut stream) = TcpStream::connect(to).await {
        // Who is let go of early has been sent as much as it needs to begin.
        let _ = stream.write_all(&bytes).await;
    }
}

/// What others see, from the beginning of the flood until ten seconds after it could be over: how many were served, and
/// how many were refused, failed or had to wait.
async fn logins_meanwhile(fleet: &Target) -> Result<(u64, u64)> {
    let (begun, mut served, mut slow) = (Instant::now(), 0, 0);
    let mut turn = 0;
    while begun.elapsed() < Duration::from_secs(15) {
        turn += 1;
        let login = match turn % 3 {
            0 => fleet.login_request(
                DialectKind::Cloudbox,
                &fleet.fresh_user()?.name,
                crate::target::PASSWORD,
                fleet.fresh_client_address(),
            ),
            // No password is hashed for it.
            1 => Request::get("/api/v1/Auth/getCAPTCHA").with_forwarded_for(fleet.fresh_client_address()),
            _ => Request::get("/readyz"),
        };
        let asked = Instant::now();
        let good = fleet.request(turn, &login).await.is_ok_and(|answer| answer.status == 200);
        if good && asked.elapsed() < MAX_LOGIN_DELAY {
            served += 1;
        } else {
            slow += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok((served, slow))
}
