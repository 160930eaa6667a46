//! The lists of common passwords: the built-in list and the operator's list, for clients and for administrators.

#![expect(clippy::unwrap_used, reason = "tests")]

use stele_app::stores;
use stele_core::Error;
use stele_core::common_passwords::ListedPasswordKey;
use stele_core::identifier::Username;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::usecase::add_user::{AddUserRequest, ProvidedSecret};
use stele_core::user::{Profile, Role, UserRef};
use stele_core::verifier;
use stele_testkit::{StoreState, TestLab};

fn password(text: &str) -> RawPassword {
    RawPassword::new(text.to_owned())
}

fn new_password(text: &str) -> NewPassword {
    NewPassword::from_administrator(&password(text)).unwrap()
}

fn user_with(name: &str, secret: ProvidedSecret) -> AddUserRequest {
    let name = Username::parse(name).unwrap();
    AddUserRequest { name, phone: None, email: None, role: Role::User, profile: Profile::default(), secret }
}

async fn strict_lab() -> TestLab {
    TestLab::with_settings(&[("STELE_PASSWORD_LIST", "refuse")]).await
}

#[tokio::test]
async fn administrators_cannot_set_a_common_password_but_import_its_hash() {
    let lab = strict_lab().await;
    let use_cases = lab.use_cases();
    let refused = use_cases.add_user(user_with("mark", ProvidedSecret::Password(new_password("123456")))).await;
    assert!(matches!(refused, Err(Error::CommonPassword)), "{refused:?}");

    let hash = verifier::parse_imported("e10adc3949ba59abbe56e057f20f883e").unwrap();
    let user = use_cases.add_user(user_with("mark", ProvidedSecret::Hash(hash))).await.unwrap();
    lab.log_in_owner("mark", "123456").await;

    let refused = use_cases.provision_password(UserRef::Id(user.id), &new_password("5201314")).await;
    assert!(matches!(refused, Err(Error::CommonPassword)), "{refused:?}");
    lab.log_in_owner("mark", "123456").await;
    use_cases.provision_password(UserRef::Id(user.id), &new_password("a-harmless-yak")).await.unwrap();
    lab.log_in_owner("mark", "a-harmless-yak").await;
}

#[tokio::test]
async fn the_operators_list_applies_to_every_instance_at_once() {
    let lab = strict_lab().await;
    let other = lab.second_instance().await;
    let user = lab.user("mark").password("steleworks-2026").add().await;
    let list = stores::open_database(&lab.context().settings).unwrap().password_list();
    list.add_listed_passwords(&[ListedPasswordKey::new(&password("steleworks-2026").digest())]).await.unwrap();
    for instance in [&lab, &other] {
        let set = async |text| instance.use_cases().provision_password(UserRef::Id(user.id), &new_password(text)).await;
        assert!(matches!(set("steleworks-2026").await, Err(Error::CommonPassword)));
        set("steleworks-2027").await.unwrap();
    }
    assert_eq!(list.remove_listed_passwords(10).await.unwrap(), 1);
    other.use_cases().provision_password(UserRef::Id(user.id), &new_password("steleworks-2026")).await.unwrap();
}

#[tokio::test]
async fn an_unreachable_user_store_accepts_no_password() {
    let lab = strict_lab().await;
    let user = lab.user("mark").password("a-harmless-yak").add().await;
    lab.set_user_store(StoreState::Down);
    let unavailable = lab.use_cases().provision_password(UserRef::Id(user.id), &new_password("another-yak")).await;
    assert!(matches!(unavailable, Err(Error::Unavailable(_))), "{unavailable:?}");
}
