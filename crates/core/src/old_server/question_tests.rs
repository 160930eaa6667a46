use super::super::{Leader, UnknownUsers};
use super::*;
use crate::hex;
use crate::user::UserId;

const NOW: Timestamp = Timestamp::from_secs(1_795_691_504);
/// `md5("123456")`.
const DIGEST: &str = "e10adc3949ba59abbe56e057f20f883e";
/// `md5(DIGEST + "1795691504")`, computed by `md5sum`.
const SALTED: &str = "b9634818d4899447e0818218cdf16c1d";

fn server(api: OldApi, accepted_proof: AcceptedProof) -> OldServer {
    OldServer { api, accepted_proof, unknown_users: UnknownUsers::Reject, leader: Leader::Stele }
}

fn describe(proof: &OldProof) -> String {
    match proof {
        OldProof::Salted(salted) => {
            format!("{} {}", hex::encode(&salted.digest), salted.timestamp.as_sent())
        }
        OldProof::Digest(digest, timestamp) => {
            assert_eq!(timestamp.as_sent(), NOW.as_secs().to_string());
            String::from_utf8(digest.hex().to_vec()).unwrap()
        }
        OldProof::Raw(raw) => raw.expose().to_owned(),
    }
}

/// Every proof at every kind of server.
#[test]
fn every_proof_is_relayed_computed_or_not_asked() {
    use AcceptedProof::{Digest, Raw, Salted};
    let raw = Proof::Raw(RawPassword::new("123456".to_owned()));
    let digest = Proof::Digest(PasswordDigest::from_hex(DIGEST).unwrap());
    let salted = SaltedProof { digest: [7; 16], timestamp: ClientTimestamp::parse(" 9.0").unwrap() };
    let relayed = format!("{} {}", "07".repeat(16), " 9.0");
    let computed = format!("{SALTED} {}", NOW.as_secs());
    let digits = "07".repeat(16);
    for (proof, accepted, asked, teaches) in [
        (&Proof::Salted(salted), Salted, Some(relayed.as_str()), false),
        (&Proof::Salted(salted), Digest, None, false),
        (&Proof::Salted(salted), Raw, None, false),
        (&Proof::SaltedOrDigest(salted), Salted, Some(relayed.as_str()), false),
        (&Proof::SaltedOrDigest(salted), Digest, Some(digits.as_str()), true),
        (&Proof::SaltedOrDigest(salted), Raw, None, false),
        (&digest, Salted, Some(computed.as_str()), true),
        (&digest, Digest, Some(DIGEST), true),
        (&digest, Raw, None, false),
        (&raw, Salted, Some(computed.as_str()), true),
        (&raw, Digest, Some(DIGEST), true),
        (&raw, Raw, Some("123456"), true),
        (&Proof::Raw(RawPassword::new(String::new())), Salted, None, false),
        (&Proof::Raw(RawPassword::new(String::new())), Digest, None, false),
        (&Proof::Raw(RawPassword::new(String::new())), Raw, None, false),
    ] {
        let prepared = prepare_proof(proof, accepted, NOW);
        assert_eq!(prepared.as_ref().map(|(proof, _)| describe(proof)).as_deref(), asked, "{proof:?} {accepted:?}");
        let taught = prepared.and_then(|(_, taught)| taught);
        assert_eq!(taught.is_some(), teaches, "{proof:?} {accepted:?}");
        if let Some(taught) = taught {
            let expected = if matches!(proof, Proof::SaltedOrDigest(_)) { digits.as_str() } else { DIGEST };
            assert_eq!(taught.digest().hex().as_slice(), expected.as_bytes());
        }
    }
}

#[test]
fn the_question_has_a_name_that_the_server_knows() {
    let full = User {
        name: Some("Alice".to_owned()),
        phone: Some("+86 138-0013-8000".to_owned()),
        email: Some("a@b.cn".to_owned()),
        ..crate::user::tests::user(UserId::from_bytes([1; 16]))
    };
    let named = User { phone: None, email: None, ..full.clone() };
    let mailed = User { name: None, phone: None, ..full.clone() };
    for (api, dialect, typed, user, expected) in [
        // At its own server, what the client sent: the server may have the phone in this spelling alone.
        (OldApi::Cloudbox, "cloudbox", "ALICE", Some(&full), Some("ALICE")),
        (OldApi::Tms, "tms", "+86 138-0013-8000", Some(&full), Some("+86 138-0013-8000")),
        (OldApi::Portal, "portal", "A@B.cn", Some(&full), Some("A@B.cn")),
        (OldApi::Mefp, "mefp", "86 13800138000", Some(&full), Some("13800138000")),
        (OldApi::Jwt, "jwt", "138 0013 8000", None, Some("138 0013 8000")),
        // Elsewhere the user's name, or what the API takes.
        (OldApi::Jwt, "portal", "13800138000", Some(&full), Some("Alice")),
        (OldApi::Jwt, "portal", "a@b.cn", Some(&mailed), Some("a@b.cn")),
        (OldApi::Portal, "jwt", "alice", Some(&full), Some("13800138000")),
        (OldApi::Portal, "jwt", "alice", Some(&mailed), Some("a@b.cn")),
        (OldApi::Portal, "portal", "alice", Some(&full), Some("13800138000")),
        (OldApi::Portal, "jwt", "alice", Some(&named), None),
        (OldApi::Mefp, "jwt", "alice", Some(&full), Some("13800138000")),
        (OldApi::Mefp, "jwt", "alice", Some(&mailed), None),
        // Unknown users.
        (OldApi::Cloudbox, "jwt", "bob", None, Some("bob")),
        (OldApi::Portal, "jwt", "bob", None, None),
        (OldApi::Mefp, "jwt", "138 0013 8000", None, Some("13800138000")),
    ] {
        let identifier = Identifier::parse(typed);
        let name = login_name(api, dialect, identifier.as_ref(), user);
        assert_eq!(name.as_deref(), expected, "{api:?} {dialect} {typed}");
    }
    // A change of password names the user by id.
    assert_eq!(login_name(OldApi::Cloudbox, "cloudbox", None, Some(&full)).as_deref(), Some("Alice"));
    assert_eq!(login_name(OldApi::Cloudbox, "cloudbox", None, None), None);
}

#[test]
fn the_server_of_the_dialect_is_asked_first_and_only_one_is() {
    let servers = [
        server(OldApi::Cloudbox, AcceptedProof::Salted),
        server(OldApi::Portal, AcceptedProof::Raw),
        server(OldApi::Jwt, AcceptedProof::Raw),
    ];
    let alice = crate::user::tests::user(UserId::from_bytes([1; 16]));
    let identifier = Identifier::parse("13800000000");
    let raw = Proof::Raw(RawPassword::new("123456".to_owned()));
    let salted = Proof::Salted(SaltedProof { digest: [7; 16], timestamp: 9.into() });
    let asked = |dialect, proof: &Proof, except: Option<OldApi>| {
        let user = (identifier.as_ref(), Some(&alice));
        prepare_question(&servers, dialect, (proof, NOW), user, |server| Some(server.api) != except)
            .map(|prepared| (prepared.server.api, prepared.taught.is_some()))
    };
    assert_eq!(asked("jwt", &raw, None), Some((OldApi::Jwt, true)));
    assert_eq!(asked("portal", &raw, None), Some((OldApi::Portal, true)));
    assert_eq!(asked("tms", &raw, None), Some((OldApi::Cloudbox, true)));
    assert_eq!(asked("portal", &raw, Some(OldApi::Portal)), Some((OldApi::Cloudbox, true)));
    assert_eq!(asked("cloudbox", &salted, None), Some((OldApi::Cloudbox, false)));
    // A salted digest cannot be checked by the portal or JWT.
    assert_eq!(asked("cloudbox", &salted, Some(OldApi::Cloudbox)), None);
    assert_eq!(OldApi::all().map(OldApi::as_str).collect::<Vec<_>>(), ["cloudbox", "tms", "portal", "mefp", "jwt"]);
    assert!(OldApi::all().all(|api| OldApi::parse(api.as_str()) == Some(api)) && OldApi::parse("Jwt").is_none());
}
