//! Answers of the dialects that say `{"message", "code", "data"}`: cloudbox and TMS.

use crate::TestResponse;

/// What such an answer says.
pub trait MessageCode {
    /// Its code.
    fn code(&self) -> String;

    /// Whether it is a success.
    fn is_success(&self) -> bool;

    /// The `user_token` of a success.
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
