//! Client of an old TMS server (TMS document, 用户加密登录接口). The document has no logout.

use stele_core::hex;
use stele_core::old_server::{AcceptedProof, OldProof, OldQuestion};
use zeroize::Zeroizing;

use crate::cloudbox::{read_login, salted_login};
use crate::exchange::{OldDialect, OutboundRequest, Reply, Response};

const LOGIN_PATH: &str = "container/api/v1/cloudbox/tms/auth/authsalt";

/// An old TMS server.
pub(crate) struct OldTms {
    /// The client token that the document demands; `None` if the server does not check it.
    pub(crate) token: Option<Zeroizing<String>>,
    /// How the server reads "password是已经md5加密过的密码".
    pub(crate) accepted_proof: AcceptedProof,
}

impl OldDialect for OldTms {
    fn login_request(&self, question: &OldQuestion) -> Option<OutboundRequest> {
        let (proof, timestamp) = match (&question.proof, self.accepted_proof) {
            (OldProof::Salted(salted), AcceptedProof::Salted) => {
                (Zeroizing::new(hex::encode(&salted.digest)), salted.timestamp)
            }
            (OldProof::Digest(digest, timestamp), AcceptedProof::Digest) => {
                (Zeroizing::new(String::from_utf8_lossy(&*digest.hex()).into_owned()), *timestamp)
            }
            _ => return None,
        };
        let request = salted_login(LOGIN_PATH, &question.login_name, &proof, timestamp);
        Some(match &self.token {
            Some(token) => request.with_header("Authorization", token.as_str()),
            None => request,
        })
    }

    fn read_login(&self, _: &OldQuestion, response: &Response) -> Reply {
        read_login(response, |_, profile| (profile, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::{response, to_text};
    use stele_core::password::PasswordDigest;
    use stele_core::proof::SaltedProof;

    /// The sample of the document.
    const SAMPLE: &str = r#"{
        "message": "Succ", "code": "0000",
        "data": {
            "user_id": "4", "user_name": "admin", "register_time": "2018-03-20T14:00:02.412827+08:00", "status": "1",
            "avatar_url": "1", "user_phone": "1", "user_email": "1@hna", "user_token": "9665f7452bec11e8b2256a00027160c0",
            "user_real_name": "", "user_gender": "", "user_nickname": "", "user_alias_id": "", "role": "1",
            "group": "admin"
        }
    }"#;

    fn server(accepted_proof: AcceptedProof) -> OldTms {
        OldTms { token: Some(Zeroizing::new("client".to_owned())), accepted_proof }
    }

    fn question(proof: OldProof) -> OldQuestion {
        OldQuestion { login_name: "mark".to_owned(), proof }
    }

    #[test]
    fn the_proof_is_salted_or_the_digest_as_the_server_reads_it() {
        let digest = "e10adc3949ba59abbe56e057f20f883e";
        let salted =
            OldProof::Salted(SaltedProof { digest: hex::decode(digest).unwrap(), timestamp: 1_521_515_662.into() });
        let plain = OldProof::Digest(PasswordDigest::from_hex(digest).unwrap(), 1_521_515_662.into());
        let expected = format!(
            "POST container/api/v1/cloudbox/tms/auth/authsalt\nContent-Type: application/json\nAuthorization: client\n\n\
             {{\"username\":\"mark\",\"password\":\"{digest}\",\"timestamp\":1521515662}}"
        );
        for (proof, accepted, is_asked) in [
            (&salted, AcceptedProof::Salted, true),
            (&plain, AcceptedProof::Digest, true),
            (&salted, AcceptedProof::Digest, false),
            (&plain, AcceptedProof::Salted, false),
        ] {
            let request = server(accepted).login_request(&question(proof.clone()));
            assert_eq!(request.as_ref().map(to_text), is_asked.then(|| expected.clone()), "{proof:?} {accepted:?}");
        }
    }

    #[test]
    fn the_sample_of_the_document_is_read() {
        let salted = OldProof::Salted(SaltedProof { digest: [0; 16], timestamp: 1.into() });
        let reply = server(AcceptedProof::Salted).read_login(&question(salted), &response(200, SAMPLE));
        let Reply::Yes { profile, logout: None } = reply else { panic!("the sample is a yes without a logout") };
        assert_eq!(profile.ids, ["4"]);
        assert_eq!(profile.email.as_deref(), Some("1@hna"));
        assert!(profile.registered_at.is_some() && profile.alias_id.is_none());
    }
}
