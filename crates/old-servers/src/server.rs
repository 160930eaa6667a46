//! A running old server: its thread, and the faults of its answers.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer, web};
use futures_util::{StreamExt as _, stream};
use socket2::{Domain, Socket, Type};

use crate::call::{Call, Outcome, ReceivedCall};
use crate::fault::Fault;
use crate::protocol::{Answer, Body, Protocol};
use crate::request::Request;
use crate::state::{Session, State};
use crate::user::UserTable;

/// A running old server. It stops when dropped.
pub struct OldServer {
    address: SocketAddr,
    /// Bound but not listening: keeps the port while the server refuses connections.
    _reservation: Socket,
    shared: Data<Shared>,
    running: Mutex<Option<Running>>,
}

struct Shared {
    protocol: Box<dyn Protocol>,
    state: Arc<State>,
}

struct Running {
    handle: ServerHandle,
    thread: JoinHandle<()>,
}

impl OldServer {
    /// Starts a server on `port` of loopback, or on a free one if that is 0.
    pub(crate) fn start(protocol: impl Protocol, table: Arc<dyn UserTable>, port: u16) -> Self {
        let reservation = bound_socket(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into());
        let address = reservation.local_addr().unwrap().as_socket().unwrap();
        let shared = Data::new(Shared { protocol: Box::new(protocol), state: Arc::new(State::new(table)) });
        let running = Mutex::new(Some(Running::start(address, &shared)));
        Self { address, _reservation: reservation, shared, running }
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The users.
    pub fn table(&self) -> &Arc<dyn UserTable> {
        &self.shared.state.table
    }

    /// Sets the fault of all calls, and ends earlier ones.
    ///
    /// # Panics
    /// If the server's document does not allow the fault ([`Fault::CaptchaDemanded`] and lies about a user that the
    /// answer does not name).
    pub fn set_fault(&self, fault: Fault) {
        self.require_support(&fault);
        let is_gone = fault == Fault::Gone;
        self.state().set_fault(fault);
        let mut running = self.running();
        match running.take() {
            Some(server) if is_gone => server.stop(),
            Some(server) => *running = Some(server),
            None if is_gone => {}
            None => *running = Some(Running::start(self.address, &self.shared)),
        }
    }

    /// Sets the fault of one kind of call, in place of that of [`OldServer::set_fault`].
    ///
    /// # Panics
    /// As [`OldServer::set_fault`], and for [`Fault::Gone`], which concerns all calls.
    pub fn set_fault_on(&self, call: Call, fault: Fault) {
        self.require_support(&fault);
        assert_ne!(fault, Fault::Gone, "a server is gone for all calls");
        self.state().set_fault_on(call, fault);
    }

    /// All calls since the start or [`OldServer::clear_log`], in order of arrival.
    pub fn calls(&self) -> Vec<ReceivedCall> {
        self.state().calls()
    }

    /// How many calls of this kind arrived since the start or [`OldServer::clear_log`].
    pub fn count(&self, call: Call) -> usize {
        self.calls().iter().filter(|received| received.call == call).count()
    }

    /// The greatest number of calls that were processed at the same time.
    pub fn most_in_flight(&self) -> usize {
        self.state().most_in_flight()
    }

    /// Forgets the calls.
    pub fn clear_log(&self) {
        self.state().clear_log();
    }

    /// The live sessions.
    pub fn sessions(&self) -> Vec<Session> {
        self.state().sessions()
    }

    /// The code that was sent to a phone or e-mail address and is still valid; JWT: for an account, or for `captcha:`
    /// and the id of a captcha.
    pub fn code(&self, recipient: &str) -> Option<String> {
        self.state().any_code(recipient)
    }

    fn state(&self) -> &State {
        &self.shared.state
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn require_support(&self, fault: &Fault) {
        assert!(self.shared.protocol.supports(fault), "the document of this server does not allow {fault:?}");
    }
}

impl Drop for OldServer {
    fn drop(&mut self) {
        if let Some(server) = self.running().take() {
            server.stop();
        }
    }
}

impl Running {
    /// Returns when the server listens.
    fn start(address: SocketAddr, shared: &Data<Shared>) -> Self {
        let shared = shared.clone();
        let (handle_tx, handle_rx) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || App::new().app_data(shared.clone()).default_service(web::to(handle));
                let server = HttpServer::new(app).workers(1).disable_signals().listen(listener(address)).unwrap().run();
                handle_tx.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self { handle: handle_rx.recv().expect("the server starts"), thread }
    }

    /// Closes the listener and all connections.
    fn stop(self) {
        // The command is sent by the call itself.
        drop(self.handle.stop(false));
        // Fails if the thread has panicked, which has printed a message.
        let _ = self.thread.join();
    }
}

fn bound_socket(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap_or_else(|e| panic!("{address}: {e}"));
    socket
}

fn listener(address: SocketAddr) -> TcpListener {
    let socket = bound_socket(address);
    socket.listen(1024).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

async fn handle(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let request = Request::read(&request, &body);
    let Some(call) = shared.protocol.route(&request.method, &request.path) else {
        let entry = shared.state.log_call(Call::Unknown, request.path);
        entry.set_outcome(Outcome::Refused("404".to_owned()), None);
        return html(404);
    };
    let entry = shared.state.log_call(call, shared.protocol.identifier(&request));
    let fault = shared.state.fault_on(call);
    if let Some((name, response)) = fault_response(&fault) {
        entry.set_outcome(Outcome::Faulted(name), None);
        return response;
    }
    let Ok(answer) = shared.protocol.answer(call, &request, &shared.state, fault.lie()).await else {
        entry.set_outcome(Outcome::Refused("500".to_owned()), None);
        return html(500);
    };
    entry.set_outcome(answer.outcome.clone(), answer.user.clone());
    if let Fault::Slow(delay) = fault {
        tokio::time::sleep(delay).await;
    }
    render(answer, &fault)
}

/// The answer of a server that does not process calls.
fn fault_response(fault: &Fault) -> Option<(&'static str, HttpResponse)> {
    let json = || builder(200, "application/json; charset=utf-8");
    match fault {
        Fault::Status(status) => Some(("status", html(*status))),
        Fault::Redirect(url) => {
            Some(("redirect", builder(307, "text/html").insert_header(("Location", url.as_str())).finish()))
        }
        Fault::Body(text) => Some(("body", json().body(text.clone()))),
        Fault::Endless => {
            let chunk = Bytes::from(format!("\"{}\",", "a".repeat(4096)));
            let rest = stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
            let start = stream::iter([Ok(Bytes::from_static(b"["))]);
            Some(("endless", json().streaming(start.chain(paced(rest)))))
        }
        _ => None,
    }
}

/// Yields to other connections of the thread before each chunk.
fn paced(
    chunks: impl stream::Stream<Item = Result<Bytes, std::io::Error>>,
) -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> {
    chunks.then(|chunk| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        chunk
    })
}

fn render(answer: Answer, fault: &Fault) -> HttpResponse {
    let (content_type, bytes) = match answer.body {
        Body::Json(value) => ("application/json; charset=utf-8", value.to_string().into_bytes()),
        Body::Svg(text) => ("image/svg+xml", text.into_bytes()),
    };
    let mut response = builder(answer.status, content_type);
    for header in answer.headers {
        response.append_header(header);
    }
    let half = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
    match fault {
        Fault::Malformed => response.body(half),
        Fault::Truncated => {
            let length = bytes.len() as u64;
            let broken = stream::once(async {
                // The first half is sent while the stream is pending.
                tokio::task::yield_now().await;
                Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
            });
            response.body(SizedStream::new(length, Box::pin(stream::iter([Ok(half)]).chain(broken))))
        }
        _ => response.body(bytes),
    }
}

fn html(status: u16) -> HttpResponse {
    builder(status, "text/html").body(format!("<html><head><title>{status}</title></head></html>"))
}

fn builder(status: u16, content_type: &'static str) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap());
    response.content_type(content_type);
    response
}
