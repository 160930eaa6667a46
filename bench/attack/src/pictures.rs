//! Having pictures of captchas drawn, without waiting for them.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stele_bench_kit::{Dialect, Request, Result};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::Options;
use crate::report::Row;
use crate::target::Fleet;
use crate::volley::{Shot, volley};

/// How many captchas are looked at; each is shown a few times only.
const CAPTCHAS: u64 = 200;
/// How many requests are sent and left at once.
const AT_ONCE: u64 = 64;
/// How long others may wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// A captcha's picture.
async fn issue(fleet: &Fleet, turn: u64) -> Result<Option<Request>> {
    let ask = Request::get("/api/v1/Auth/getCAPTCHA").from_client(fleet.newcomer());
    let told = fleet.told(turn, Dialect::Jwt, &ask).await?;
    let id = told.json["data"]["id"].as_u64();
    Ok(id.map(|id| Request::get(&format!("/api/v1/Auth/CAPTCHA/{id}"))))
}

/// Thousands of requests for pictures whose answers are not waited for, while others log in; then hundreds that wait.
pub(crate) async fn pictures(options: &Options, name: &str, fleet: &Fleet) -> Result<Row> {
    let mut row = Row::new(name, fleet);
    let Some(picture) = issue(fleet, 0).await? else {
        row.works("a captcha is issued", false);
        return Ok(row);
    };
    let mut bytes = Vec::new();
    for turn in 0..2 {
        let answer = fleet.ask(turn, &picture.clone().from_client(fleet.newcomer())).await?;
        row.works("a picture is shown", answer.header("content-type") == Some("image/png"));
        bytes.push(answer.body);
    }
    // Of many pictures with fresh noise the median is without any.
    row.through += u64::from(bytes[0] != bytes[1]);

    let mut pictures = Vec::new();
    for turn in 0..CAPTCHAS.min(options.requests / 10) {
        pictures.extend(issue(fleet, turn).await?);
    }
    if pictures.is_empty() {
        row.works("captchas are issued", false);
        return Ok(row);
    }
    let count = options.requests.min(6_000);
    let send = |number: u64| {
        let picture = &pictures[usize::try_from(number).unwrap_or_default() % pictures.len()];
        Shot::new(fleet.front(number), picture.clone().from_client(fleet.newcomer()).bytes())
    };
    let flood = async {
        let mut sent = 0;
        while sent < count {
            let batch = (sent..(sent + AT_ONCE).min(count)).map(|number| {
                let shot = send(number);
                leave(shot.to, shot.bytes)
            });
            futures_util::future::join_all(batch).await;
            sent += AT_ONCE;
        }
    };
    let (_, others) = futures_util::future::join(flood, others(fleet)).await;
    let (served, slow) = others?;
    row.tried += count;
    row.through += slow;
    row.works("others are looked at meanwhile", served > 0);

    let row = RefCell::new(row);
    volley(options, name, (options.requests / 20).max(100), send, |_, _, sent| {
        let mut row = row.borrow_mut();
        match sent {
            // It says when to come back.
            Ok(answer) if answer.status == 503 && answer.header("retry-after").is_some() => row.tried += 1,
            other => drop(row.count(other)),
        }
    })
    .await;
    let mut row = row.into_inner();
    let person = fleet.person()?;
    row.works("JWT serves afterwards", fleet.lets_in(0, Dialect::Jwt, &person.email, fleet.newcomer()).await?);
    row.refused = row.tried - row.faults;
    Ok(row.noted(format!("{served} others were served meanwhile, {slow} were not")))
}

/// Sends a request and hangs up.
async fn leave(to: SocketAddr, bytes: Vec<u8>) {
    if let Ok(mut stream) = TcpStream::connect(to).await {
        // Who is let go of early has been sent as much as it needs to begin.
        let _ = stream.write_all(&bytes).await;
    }
}

/// What others see, from the beginning of the flood until ten seconds after it could be over: how many were served, and
/// how many were refused, failed or had to wait.
async fn others(fleet: &Fleet) -> Result<(u64, u64)> {
    let (begun, mut served, mut slow) = (Instant::now(), 0, 0);
    let mut turn = 0;
    while begun.elapsed() < Duration::from_secs(15) {
        turn += 1;
        let login = match turn % 3 {
            0 => fleet.login(Dialect::Cloudbox, &fleet.person()?.name, crate::target::PASSWORD, fleet.newcomer()),
            // No password is hashed for it.
            1 => Request::get("/api/v1/Auth/getCAPTCHA").from_client(fleet.newcomer()),
            _ => Request::get("/readyz"),
        };
        let asked = Instant::now();
        let good = fleet.ask(turn, &login).await.is_ok_and(|answer| answer.status == 200);
        if good && asked.elapsed() < PATIENCE {
            served += 1;
        } else {
            slow += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok((served, slow))
}
