//! An empty actix handler: the theoretical limit of a request, and the upstream behind the measured proxies.
//!
//!     upstream ADDRESS:PORT

use actix_web::{App, HttpResponse, HttpServer, web};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let Some(address) = std::env::args().nth(1) else {
        return Err(std::io::Error::other("usage: upstream ADDRESS:PORT"));
    };
    // As in the product's services: one worker per core, and the body is read.
    let handler = |_: web::Bytes| std::future::ready(HttpResponse::Ok().finish());
    HttpServer::new(move || App::new().default_service(web::to(handler)))
        .keep_alive(std::time::Duration::from_secs(75))
        .bind(address)?
        .run()
        .await
}
