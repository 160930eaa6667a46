//! The OpenAPI document. That answers are as it says is seen wherever a golden transcript is played.

use stele_testkit::{Lab, documented};
use svc_jwt::SERVICE;

#[tokio::test]
async fn the_routes_and_their_document_are_the_same() {
    documented(&Lab::new().await.start(SERVICE).await).await;
}
