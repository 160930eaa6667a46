//! Which old server can be asked about a login, with which name and proof, and what a yes teaches.

use super::{AcceptedProof, OldApi, OldServer};
use crate::client_timestamp::ClientTimestamp;
use crate::identifier::{Email, Identifier, Phone, Recipient};
use crate::password::{PasswordDigest, RawPassword};
use crate::proof::{Proof, SaltedProof};
use crate::session::DialectName;
use crate::time::Timestamp;
use crate::user::User;
use crate::verifier::PresentedSecret;

/// A question to an old server: is this the user's password? Never printed with its proof.
#[derive(Clone, Debug)]
pub struct OldQuestion {
    /// The content of the login field.
    pub login_name: String,
    /// The proof of the password.
    pub proof: OldProof,
}

/// The proof of the password, as an old server checks it.
#[derive(Clone, Debug)]
pub enum OldProof {
    /// `md5(D + timestamp)`, with the timestamp as it is to be sent.
    Salted(SaltedProof),
    /// `D`, with the timestamp that the document wants beside it.
    Digest(PasswordDigest, ClientTimestamp),
    /// The password.
    Raw(RawPassword),
}

/// A question, the server to ask, and what a yes teaches.
#[derive(Clone, Debug)]
pub struct PreparedQuestion {
    /// The server.
    pub server: OldServer,
    /// The question.
    pub question: OldQuestion,
    /// The secret that a yes proves. `None` for a relayed salted digest, from which no verifier follows: the user can be
    /// logged in, but not migrated.
    pub taught: Option<PresentedSecret>,
}

/// What a server that checks `accepted` proofs can be asked after a client has sent `proof`, with the secret that a yes
/// teaches; `None` if it cannot be asked.
///
/// | the client sent | salted | digest | raw |
/// | --- | --- | --- | --- |
/// | salted digest | relayed, teaches nothing | – | – |
/// | salted digest or `D` | relayed as salted, teaches nothing | relayed as `D` | – |
/// | `D` | computed | relayed | – |
/// | password | computed | computed | relayed |
pub fn prepare_proof(
    proof: &Proof,
    accepted: AcceptedProof,
    now: Timestamp,
) -> Option<(OldProof, Option<PresentedSecret>)> {
    let timestamp = ClientTimestamp::from(u64::try_from(now.as_secs()).unwrap_or_default());
    let digest_proof = |digest: PasswordDigest| match accepted {
        AcceptedProof::Salted => {
            Some(OldProof::Salted(SaltedProof { digest: digest.salted_hash(timestamp.as_sent()), timestamp }))
        }
        AcceptedProof::Digest => Some(OldProof::Digest(digest, timestamp)),
        AcceptedProof::Raw => None,
    };
    match (proof, accepted) {
        (Proof::Salted(salted) | Proof::SaltedOrDigest(salted), AcceptedProof::Salted) => {
            Some((OldProof::Salted(*salted), None))
        }
        (Proof::Salted(_), _) => None,
        (Proof::SaltedOrDigest(either), _) => {
            let digest = PasswordDigest::from_bytes(either.digest);
            Some((digest_proof(digest.clone())?, Some(PresentedSecret::Digest(digest))))
        }
        (Proof::Digest(digest), _) => {
            Some((digest_proof(digest.clone())?, Some(PresentedSecret::Digest(digest.clone()))))
        }
        // No user has an empty password.
        (Proof::Raw(raw), _) if raw.is_empty() => None,
        (Proof::Raw(raw), AcceptedProof::Raw) => {
            Some((OldProof::Raw(raw.clone()), Some(PresentedSecret::Raw(raw.clone()))))
        }
        (Proof::Raw(raw), _) => Some((digest_proof(raw.digest())?, Some(PresentedSecret::Raw(raw.clone())))),
    }
}

/// The name by which the server of `api` is asked about a login; `None` if the user has none that this API takes.
///
/// At the server of the dialect that the client uses, the name is what the client sent, to the byte: a login that succeeded
/// there must succeed here, and a phone may be stored there in any spelling (MeFP's document has one, 11 digits). Elsewhere
/// it is the user's name at best, and phones are sent in canonical form.
pub fn login_name(
    api: OldApi,
    dialect: DialectName,
    identifier: Option<&Identifier>,
    user: Option<&User>,
) -> Option<String> {
    let is_own = api.as_str() == dialect;
    let typed = identifier.map(Identifier::text);
    if is_own
        && api != OldApi::Mefp
        && let Some(sent) = typed.filter(|text| takes(api, text))
    {
        return Some(sent.to_owned());
    }
    let sent = typed.filter(|_| is_own || user.is_none());
    let stored = user.map(|user| [&user.name, &user.phone, &user.email].map(|field| field.as_deref()));
    let [name, phone, email] = stored.unwrap_or_default();
    let mobile_or_text = |text: &str| match Recipient::parse(text) {
        Some(Recipient::Phone(phone)) => phone.key().to_owned(),
        _ => text.to_owned(),
    };
    match api {
        OldApi::Cloudbox | OldApi::Tms | OldApi::Jwt => {
            [sent, name, phone, email, typed].into_iter().flatten().next().map(mobile_or_text)
        }
        OldApi::Portal => [sent, phone, email].into_iter().flatten().find(|text| takes(api, text)).map(mobile_or_text),
        OldApi::Mefp => [sent, phone].into_iter().flatten().find_map(Phone::parse).map(|phone| phone.key().to_owned()),
    }
}

/// Whether users log in with such a text at a server of `api`: the portal takes phones and e-mail addresses alone.
fn takes(api: OldApi, text: &str) -> bool {
    api != OldApi::Portal || Phone::parse(text).is_some() || Email::parse(text).is_some()
}

/// The question to the first server that may and can be asked: that of the client's dialect, then the others in the
/// order of `servers`. There is one question a login.
pub fn prepare_question(
    servers: &[OldServer],
    dialect: DialectName,
    (proof, now): (&Proof, Timestamp),
    (identifier, user): (Option<&Identifier>, Option<&User>),
    may_ask: impl Fn(&OldServer) -> bool,
) -> Option<PreparedQuestion> {
    let is_of_dialect = |server: &&OldServer| server.api.as_str() == dialect;
    let own = servers.iter().filter(is_of_dialect);
    let others = servers.iter().filter(|server| !is_of_dialect(server));
    own.chain(others).filter(|server| may_ask(server)).find_map(|server| {
        let login_name = login_name(server.api, dialect, identifier, user)?;
        let (proof, taught) = prepare_proof(proof, server.accepted_proof, now)?;
        Some(PreparedQuestion { server: *server, question: OldQuestion { login_name, proof }, taught })
    })
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;
