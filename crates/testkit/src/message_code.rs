//! Responses of the form `{"message", "code", "data"}`, which cloudbox and TMS use.

use crate::TestResponse;

/// Accessors of a response of the form `{"message", "code", "data"}`.
pub trait MessageCode {
    /// The response's code.
    fn code(&self) -> String;

    /// Whether the response reports success: HTTP 200 and code `0000`.
    fn is_success(&self) -> bool;

    /// The `user_token` of a successful response; panics on a failure.
    fn token(&self) -> String;
}

impl MessageCode for TestResponse {
    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap().to_owned()
    }

    fn is_success(&self) -> bool {
        self.status == 200 && self.code() == "0000"
    }

    #[track_caller]
    fn token(&self) -> String {
        assert!(self.is_success(), "{self:?}");
        self.json()["data"]["user_token"].as_str().unwrap().to_owned()
    }
}
