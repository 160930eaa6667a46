//! A mail server for tests with configurable behavior.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::within_timeout;

/// How a mail server behaves.
#[derive(Clone, Copy)]
pub(crate) enum ServerBehavior {
    AcceptAll,
    /// Replies to this command with this reply.
    ReplyWith(&'static str, &'static str),
    /// Replies to this command with this reply the first time.
    ReplyOnceWith(&'static str, &'static str),
    /// Does not reply to this command; `""`: sends no greeting.
    NoReply(&'static str),
}

/// A received mail.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) data: String,
}

pub(crate) struct MailServer {
    /// The server's URL for `STELE_DELIVERY`, without encryption.
    pub(crate) url: String,
    pub(crate) port: u16,
    mails: mpsc::UnboundedReceiver<Mail>,
    commands: Arc<Mutex<Vec<String>>>,
}

/// When a server starts TLS.
#[derive(Clone)]
pub(crate) enum TlsMode {
    Plaintext,
    /// From the first byte.
    Implicit(TlsAcceptor),
    /// On the command STARTTLS.
    StartTls(TlsAcceptor),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Connection = BufReader<Box<dyn Stream>>;

impl MailServer {
    pub(crate) async fn start(behavior: ServerBehavior) -> Self {
        Self::start_with(behavior, TlsMode::Plaintext).await
    }

    pub(crate) async fn start_with(behavior: ServerBehavior, tls: TlsMode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("smtp://codes:pass%2Cword@127.0.0.1:{port}?from=Stele%20%3Ccodes@example.com%3E&tls=none");
        let (sender, mails) = mpsc::unbounded_channel();
        let commands = Arc::<Mutex<Vec<String>>>::default();
        let recorded = commands.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_connection(
                    Box::new(stream),
                    behavior,
                    tls.clone(),
                    recorded.clone(),
                    sender.clone(),
                ));
            }
        });
        Self { url, port, mails, commands }
    }

    /// Waits for the next mail.
    pub(crate) async fn next_mail(&mut self) -> Mail {
        within_timeout(self.mails.recv()).await.unwrap()
    }

    /// Whether a mail was received that [`Self::next_mail`] has not returned; consumes it.
    pub(crate) fn has_unread_mail(&mut self) -> bool {
        self.mails.try_recv().is_ok()
    }

    /// All commands received so far.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().clone()
    }

    /// The number of commands received that begin with `verb`.
    pub(crate) fn count_commands(&self, verb: &str) -> usize {
        self.commands().iter().filter(|command| command.starts_with(verb)).count()
    }
}

async fn serve_connection(
    mut stream: Box<dyn Stream>,
    behavior: ServerBehavior,
    tls: TlsMode,
    commands: Arc<Mutex<Vec<String>>>,
    mails: mpsc::UnboundedSender<Mail>,
) -> Option<()> {
    if let TlsMode::Implicit(acceptor) = &tls {
        stream = Box::new(acceptor.accept(stream).await.ok()?);
    }
    let mut stream = BufReader::new(stream);
    let mut mail = Mail { from: String::new(), to: String::new(), data: String::new() };
    if matches!(behavior, ServerBehavior::NoReply("")) {
        std::future::pending::<()>().await;
    }
    write_line(&mut stream, "220 mail.example.com").await?;
    loop {
        let command = read_line(&mut stream).await?;
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_owned();
        let count_before = commands.lock().unwrap().iter().filter(|c| c.starts_with(&verb)).count();
        commands.lock().unwrap().push(command.clone());
        match behavior {
            ServerBehavior::ReplyWith(of_verb, reply) if of_verb == verb => {
                write_line(&mut stream, reply).await?;
                continue;
            }
            ServerBehavior::ReplyOnceWith(of_verb, reply) if of_verb == verb && count_before == 0 => {
                write_line(&mut stream, reply).await?;
                continue;
            }
            ServerBehavior::NoReply(of_verb) if of_verb == verb => std::future::pending().await,
            _ => {}
        }
        match verb.as_str() {
            "EHLO" if matches!(tls, TlsMode::StartTls(_)) => {
                write_line(&mut stream, "250-mail.example.com\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 AUTH PLAIN")
                    .await?;
            }
            "STARTTLS" => {
                let TlsMode::StartTls(acceptor) = &tls else { return None };
                write_line(&mut stream, "220 go on").await?;
                stream = BufReader::new(Box::new(acceptor.accept(stream.into_inner()).await.ok()?));
            }
            "EHLO" => write_line(&mut stream, "250-mail.example.com\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN").await?,
            "AUTH" => write_line(&mut stream, "235 welcome").await?,
            "MAIL" => {
                mail.from = command;
                write_line(&mut stream, "250 ok").await?;
            }
            "RCPT" => {
                mail.to = command;
                write_line(&mut stream, "250 ok").await?;
            }
            "DATA" => {
                write_line(&mut stream, "354 go on").await?;
                loop {
                    let line = read_line(&mut stream).await?;
                    if line == "." {
                        break;
                    }
                    mail.data += &(line + "\n");
                }
                let empty = Mail { from: String::new(), to: String::new(), data: String::new() };
                mails.send(std::mem::replace(&mut mail, empty)).ok()?;
                write_line(&mut stream, "250 accepted").await?;
            }
            "QUIT" => {
                write_line(&mut stream, "221 bye").await?;
                return None;
            }
            _ => write_line(&mut stream, "500 what?").await?,
        }
    }
}

async fn read_line(stream: &mut Connection) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

async fn write_line(stream: &mut Connection, line: &str) -> Option<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()
}
