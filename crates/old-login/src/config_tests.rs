use super::*;

fn config(values: &[(&str, &str)]) -> Result<OldServersConfig, String> {
    let settings = Settings::default().with_values(values.iter().map(|(name, value)| (*name, (*value).to_owned())));
    OldServersConfig::from_settings(&settings).map_err(|e| e.to_string())
}

#[test]
fn without_settings_no_server_is_asked() {
    assert!(config(&[]).unwrap().servers.is_empty());
}

#[test]
fn all_five_servers_are_read_in_a_fixed_order() {
    let all = config(&[
        ("STELE_OLD_JWT_URL", "https://old.example/base/"),
        ("STELE_OLD_CLOUDBOX_URL", "http://10.0.0.5:8080"),
        ("STELE_OLD_CLOUDBOX_OPEN", "true"),
        ("STELE_OLD_TMS_URL", "http://[::1]:8081"),
        ("STELE_OLD_TMS_PROOF", "digest"),
        ("STELE_OLD_TMS_TOKEN", "abc"),
        ("STELE_OLD_PORTAL_URL", "http://old"),
        ("STELE_OLD_MEFP_URL", "http://old"),
        ("STELE_OLD_MEFP_APP", "melink"),
        ("STELE_OLD_MEFP_SECRET", "0123456789abcdef0123456789abcdef"),
        ("STELE_OLD_MEFP_APP_SECRET", "fedcba9876543210"),
        ("STELE_OLD_LEADS", "portal, jwt"),
    ])
    .unwrap();
    let servers: Vec<_> = all.servers.iter().map(|config| config.server).collect();
    use AcceptedProof::{Digest, Raw, Salted};
    let expected = [
        (OldApi::Cloudbox, Salted, UnknownUsers::Ask, Leader::Stele),
        (OldApi::Tms, Digest, UnknownUsers::Reject, Leader::Stele),
        (OldApi::Portal, Raw, UnknownUsers::Reject, Leader::OldServer),
        (OldApi::Mefp, Raw, UnknownUsers::Reject, Leader::Stele),
        (OldApi::Jwt, Raw, UnknownUsers::Reject, Leader::OldServer),
    ]
    .map(|(api, accepted_proof, unknown_users, leader)| OldServer { api, accepted_proof, unknown_users, leader });
    assert_eq!(servers, expected);
    assert_eq!(
        all.describe()[0],
        "the old cloudbox server at http://10.0.0.5:8080/ is asked also about unknown users; Stele leads"
    );
    assert!(all.describe()[4].ends_with("about imported users alone; the old server leads"));
}

#[test]
fn every_fault_names_the_setting_and_never_its_secret() {
    let secret = "0123456789abcdef0123456789abcde";
    let mefp = [("STELE_OLD_MEFP_URL", "http://old"), ("STELE_OLD_MEFP_APP", "melink")];
    for (values, expected) in [
        (vec![("STELE_OLD_CLOUDBOX_URL", "ftp://old")], "STELE_OLD_CLOUDBOX_URL"),
        (vec![("STELE_OLD_CLOUDBOX_URL", "old:8080")], "STELE_OLD_CLOUDBOX_URL"),
        (vec![("STELE_OLD_PORTAL_URL", "http://user:hunter2@old")], "STELE_OLD_PORTAL_URL"),
        (vec![("STELE_OLD_PORTAL_URL", "http://old/?a=hunter2")], "STELE_OLD_PORTAL_URL"),
        (vec![("STELE_OLD_TMS_PROOF", "either"), ("STELE_OLD_TMS_URL", "http://old")], "STELE_OLD_TMS_PROOF"),
        (vec![("STELE_OLD_TMS_TOKEN", "hunter2\n"), ("STELE_OLD_TMS_URL", "http://old")], "STELE_OLD_TMS_TOKEN"),
        (vec![("STELE_OLD_LEADS", "Portal")], "STELE_OLD_LEADS"),
        (vec![("STELE_OLD_LEADS", "portal")], "STELE_OLD_LEADS: there is no old portal server"),
        (vec![("STELE_OLD_JWT_OPEN", "true")], "STELE_OLD_JWT_OPEN: there is no old jwt server"),
        (vec![("STELE_OLD_MEFP_URL", "http://old")], "STELE_OLD_MEFP_APP"),
        (mefp.to_vec(), "STELE_OLD_MEFP_SECRET"),
        ([&mefp[..], &[("STELE_OLD_MEFP_SECRET", secret)]].concat(), "STELE_OLD_MEFP_SECRET"),
    ] {
        let error = config(&values).err().unwrap_or_else(|| panic!("{values:?}"));
        assert!(error.contains(expected), "{values:?}: {error}");
        assert!(!error.contains("hunter2") && !error.contains(secret), "{error}");
    }
}
