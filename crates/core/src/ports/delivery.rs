//! Delivery of verification codes by mail or short message, in the background.

use async_trait::async_trait;

use crate::Result;
use crate::code::{Code, CodePurpose};
use crate::identifier::Recipient;
use crate::session::DialectName;
use crate::time::Timestamp;

/// A code to be delivered.
#[derive(Clone, Debug)]
pub struct CodeMessage {
    /// When the code was generated.
    pub at: Timestamp,
    /// The recipient.
    pub to: Recipient,
    /// The purpose of the code.
    pub purpose: CodePurpose,
    /// The dialect that sends the code, which decides the language of the message.
    pub dialect: DialectName,
    /// The code.
    pub code: Code,
}

/// Delivers codes to their recipients.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// Checks whether a message to `to` would be accepted. Called before anything is looked up or counted, so that a
    /// send which cannot succeed consumes no quota and does not reveal whether the recipient has an account.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] if the message would not be accepted.
    fn check_available(&self, _to: &Recipient) -> Result<()> {
        Ok(())
    }

    /// Queues a message for delivery and returns at once, so that the response time does not reveal whether a message
    /// is sent (timing side channel).
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] if the message cannot be queued.
    fn dispatch(&self, message: CodeMessage) -> Result<()>;

    /// Graceful shutdown: waits, for seconds at most, until queued messages are delivered or abandoned.
    async fn drain(&self) {}
}
