//! The HTTP/1.1 readers and writers as plain functions, for the fuzz targets in `fuzz/`. Not part of any other build.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use stele_service::Settings;
use stele_service::trust::Trust;
use tracing::Span;

use crate::headers::{self, Caller, ForService};
use crate::proxy;
use crate::wire::body::{Body, Coding};
use crate::wire::chunks::Chunks;
use crate::wire::lines::Lines;
use crate::wire::request::{Framing, Request};
use crate::wire::response::Response;
use crate::wire::{Fault, Version};

/// Where the requests come from.
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// How a message's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// There is none.
    None,
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked,
    /// Everything until the connection ends.
    UntilClose,
}

/// A request's head, as the gateway reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes.
    pub size: usize,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Whether it is HTTP/1.1, not 1.0.
    pub is_current: bool,
    /// The body that follows.
    pub frame: Frame,
    /// Whether the client may send another request behind it.
    pub is_kept: bool,
}

/// Not HTTP, or of two meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Reads the head of a request that comes in `pieces`; `None` while it is not whole.
///
/// # Errors
/// If the gateway refuses it whatever its route.
pub fn request(pieces: &[&[u8]]) -> Result<Option<Head>, Refused> {
    let (mut lines, mut come) = (Lines::default(), Vec::new());
    for piece in pieces {
        come.extend_from_slice(piece);
        if let Some(size) = lines.end(&come).map_err(refused)? {
            let request = Request::parse(come.get(..size).unwrap_or_default()).map_err(refused)?;
            return Ok(Some(Head {
                size,
                method: request.method.to_string(),
                target: request.target().to_owned(),
                is_current: request.version == Version::Http11,
                frame: match request.framing {
                    Framing::None => Frame::None,
                    Framing::Sized(length) => Frame::Sized(length),
                    Framing::Chunked => Frame::Chunked,
                },
                is_kept: request.keeps(),
            }));
        }
    }
    Ok(None)
}

fn refused(_: Fault) -> Refused {
    Refused
}

/// The head that a service gets for this one, unless the gateway refuses it in its route's dialect.
pub fn forwarded(head: &[u8]) -> Option<Vec<u8>> {
    let request = Request::parse(head).ok()?;
    proxy::check(&request, u64::MAX).ok()?;
    let trust = Trust::from_settings(&Settings::default()).ok()?;
    let caller = Caller::of(PEER, &request.fields, &trust);
    let (host, span) = (HeaderValue::from_static("service"), Span::none());
    let mut out = Vec::new();
    headers::for_service(&request, &ForService { caller: &caller, host: &host, hop: None, span: &span }, &mut out);
    Some(out)
}

/// What became of the bytes of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Relayed {
    /// What goes on.
    pub written: Vec<u8>,
    /// How much of that is content.
    pub content: u64,
    /// What came behind the body.
    pub rest: Vec<u8>,
    /// Whether the body has ended.
    pub is_over: bool,
}

/// Passes a body on that comes in `pieces`, in chunks (`chunked`) or as it is.
///
/// # Errors
/// If it is not framed like this.
pub fn relayed(frame: Frame, pieces: &[&[u8]], chunked: bool) -> Result<Relayed, Refused> {
    let mut body = match frame {
        Frame::None => Body::Over,
        Frame::Sized(length) => Body::sized(length),
        Frame::Chunked => Body::Chunked(Chunks::default()),
        Frame::UntilClose => Body::UntilClose,
    };
    let coding = if chunked { Coding::Chunked } else { Coding::Plain };
    let (mut come, mut written, mut content) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        come.extend_from_slice(piece);
        content += body.relay(&mut come, coding, &mut written).map_err(|_| Refused)?;
    }
    Ok(Relayed { written, content, rest: come, is_over: body.is_over() })
}

/// The head of a service's answer, as the gateway reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// Its length in bytes.
    pub size: usize,
    /// The status.
    pub status: u16,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// The body that follows.
    pub frame: Frame,
    /// Whether another request may follow on this connection.
    pub is_kept: bool,
    /// The fields that the client gets of it.
    pub forwarded: Vec<u8>,
}

/// Reads the head of the answer to a request of this method; `None` while it is not whole.
///
/// # Errors
/// If it is not HTTP, or of two meanings.
pub fn answer(bytes: &[u8], method: &str) -> Result<Option<AnswerHead>, Refused> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refused)?;
    let Some(response) = Response::parse(bytes, &method).map_err(|_| Refused)? else { return Ok(None) };
    let mut forwarded = Vec::new();
    headers::for_client(&response, &mut forwarded);
    Ok(Some(AnswerHead {
        size: response.size,
        status: response.status.as_u16(),
        length: response.length,
        frame: match response.body {
            Body::Over => Frame::None,
            Body::Sized(length) => Frame::Sized(length),
            Body::Chunked(_) => Frame::Chunked,
            Body::UntilClose => Frame::UntilClose,
        },
        is_kept: response.keeps,
        forwarded,
    }))
}
