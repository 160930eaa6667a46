//! An empty actix handler: what the limit of a request is measured on, and what the proxies are measured before.
//!
//!     upstream ADDRESS:PORT

use actix_web::{App, HttpResponse, HttpServer, web};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let Some(address) = std::env::args().nth(1) else {
        return Err(std::io::Error::other("usage: upstream ADDRESS:PORT"));
    };
    // As the product's services: one worker a core, and a body is read.
    let answer = |_: web::Bytes| std::future::ready(HttpResponse::Ok().finish());
    HttpServer::new(move || App::new().default_service(web::to(answer)))
        .keep_alive(std::time::Duration::from_secs(75))
        .bind(address)?
        .run()
        .await
}
