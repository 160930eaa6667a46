//! Clients of the old servers and of Stele behind nginx, each with an address of loopback of its own.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::eventually_async;
use super::weekend::Weekend;
use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGIN, encode_base64, encode_urlencoded, password_change_body, salted_login_body,
};

/// Which server answers a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    Stele,
}

/// How many clients a sample has.
const SAMPLE: u8 = 200;

/// A client with an address of its own.
#[derive(Clone, Copy)]
pub(super) struct Client {
    nginx: SocketAddr,
    address: Ipv4Addr,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    /// Whether the answer reports a success, of cloudbox or the portal.
    pub(super) fn is_success(&self) -> bool {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        self.status == 200 && (json["code"] == "0000" || json["status"]["status_code"] == "200")
    }

    #[track_caller]
    pub(super) fn assert_success(&self) {
        assert!(self.is_success(), "{self:?}");
    }
}

impl Client {
    /// A client of nginx.
    pub(super) fn of(weekend: &Weekend) -> Self {
        let nginx = weekend.url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { nginx, address: Ipv4Addr::new(127, 0, 0, 5) }
    }

    /// Another client, with the address `127.0.0.N`.
    pub(super) fn from(self, n: u8) -> Self {
        Self { address: Ipv4Addr::new(127, 0, 0, n), ..self }
    }

    async fn send(&self, head: &str, body: &str) -> Answer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((self.address, 0).into()).unwrap();
        let mut stream = socket.connect(self.nginx).await.unwrap();
        let length = body.len();
        let request = format!("{head} HTTP/1.0\r\nHost: www.example.com\r\nContent-Length: {length}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let form = "Content-Type: application/x-www-form-urlencoded\r\n\r\n";
        let content = if body.starts_with('{') { "Content-Type: application/json\r\n\r\n" } else { form };
        stream.write_all(format!("{content}{body}").as_bytes()).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        let response = String::from_utf8(response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").expect("a whole response");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, body: body.to_owned() }
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(&format!("POST {path}"), body).await
    }

    pub(super) async fn log_in_cloudbox(&self, name: &str, password: &str) -> Answer {
        self.post(CLOUDBOX_LOGIN, &salted_login_body(name, password).to_string()).await
    }

    pub(super) async fn log_in_portal(&self, name: &str, password: &str) -> Answer {
        let fields = [("username", name), ("password", &*encode_base64(password))];
        self.post("/i/login", &encode_urlencoded(&fields)).await
    }

    pub(super) async fn change_cloudbox_password(&self, id: &str, old: &str, new: &str) -> Answer {
        self.post(CLOUDBOX_CHANGE_PASSWORD, &password_change_body(id, old, new).to_string()).await
    }

    /// Whether nginx refuses a registration. Neither server knows this method there.
    pub(super) async fn is_frozen(&self) -> bool {
        self.send("DELETE /i/register", "").await.status == 503
    }

    /// Which server answers below `prefix`, by its page for unknown paths.
    async fn side_of(&self, prefix: &str) -> Side {
        let answer = self.send(&format!("GET {prefix}nothing"), "").await;
        match (answer.body.contains("接口不存在"), answer.body.contains("<title>404</title>")) {
            (true, false) => Side::Stele,
            (false, true) => Side::Old,
            _ => panic!("{answer:?}"),
        }
    }

    /// Where this client finds cloudbox and the portal.
    async fn sides(&self) -> (Side, Side) {
        (self.side_of("/api/v1/cloudbox/").await, self.side_of("/i/").await)
    }

    /// Waits until nginx has reloaded: every client of a sample finds cloudbox and the portal there.
    pub(super) async fn eventually_sides(&self, cloudbox: Side, portal: Side) {
        eventually_async("the reload of nginx", async || {
            for n in 10..30 {
                if self.from(n).sides().await != (cloudbox, portal) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Waits until the number of clients at Stele, of a sample, is the expected one. A client has both dialects at one
    /// place.
    pub(super) async fn eventually_sides_of_sample(&self, is_expected: impl Fn(usize, usize) -> bool) {
        eventually_async("the share of clients at Stele", async || {
            let mut at_stele = 0;
            for n in 1..=SAMPLE {
                match self.from(n).sides().await {
                    (Side::Stele, Side::Stele) => at_stele += 1,
                    (Side::Old, Side::Old) => {}
                    _ => return false,
                }
            }
            is_expected(at_stele, SAMPLE.into())
        })
        .await;
    }

    pub(super) async fn eventually_thawed(&self) {
        eventually_async("the end of the freeze", async || !self.is_frozen().await).await;
    }
}
