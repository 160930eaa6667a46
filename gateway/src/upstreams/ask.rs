//! A question of the gateway's own to an instance: how it does, what it serves.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::instance::Instance;
use crate::pipe::Pipe;
use crate::wire::body::Coding;
use crate::wire::fields;
use crate::wire::response::Response;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("it cannot be connected to: {0}")]
    Absent(io::Error),
    #[error("it does not answer: {0}")]
    Broken(io::Error),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// Asks for `path` over a connection of its own that is made within `patience`; reads at most `most` bytes of a body.
pub(crate) async fn ask(instance: &Instance, path: &str, patience: Duration, most: usize) -> Result<Told, Unanswered> {
    let connecting = timeout(patience, TcpStream::connect(instance.address())).await;
    let socket = connecting.map_err(io::Error::from).flatten().map_err(Unanswered::Absent)?;
    exchange(Pipe::new(socket), instance, path, most).await.map_err(Unanswered::Broken)
}

async fn exchange(mut pipe: Pipe, instance: &Instance, path: &str, most: usize) -> io::Result<Told> {
    let mut question = format!("GET {path} HTTP/1.1\r\n").into_bytes();
    fields::put(&mut question, "host", instance.host().as_bytes());
    question.extend_from_slice(b"connection: close\r\n\r\n");
    let mut rest = question.as_slice();
    while !rest.is_empty() {
        let written = poll_fn(|cx| pipe.poll_write(cx, rest)).await?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let (status, mut body) = loop {
        if let Some(response) = Response::parse(&pipe.come, &Method::GET).map_err(|_| broken())? {
            let (status, body, size) = (response.status, response.body, response.size);
            pipe.come.drain(..size);
            break (status, body);
        }
        if poll_fn(|cx| pipe.poll_read(cx)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut content = Vec::new();
    loop {
        body.relay(&mut pipe.come, Coding::Plain, &mut content).map_err(|_| broken())?;
        if body.is_over() || most == 0 {
            return Ok(Told { status, body: content });
        }
        if content.len() > most {
            return Err(broken());
        }
        if poll_fn(|cx| pipe.poll_read(cx)).await? == 0 {
            return match body.ends_with_connection() {
                true => Ok(Told { status, body: content }),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}
