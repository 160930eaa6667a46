//! The operator's list of common passwords.

use stele_core::common_passwords::ListedPasswordKey;
use stele_core::password::RawPassword;

use crate::support::*;

fn key(password: &str) -> ListedPasswordKey {
    ListedPasswordKey::new(&RawPassword::new(password.to_owned()).digest())
}

#[tokio::test]
async fn listed_passwords_are_found_until_they_are_removed() {
    for backend in user_backends().await {
        let (users, list) = (&backend.users, &backend.password_list);
        assert!(!users.is_password_listed(key("acme")).await.unwrap(), "{}", backend.name);
        assert_eq!(list.add_listed_passwords(&[]).await.unwrap(), 0);
        assert_eq!(list.add_listed_passwords(&[key("acme"), key("acme2026"), key("acme")]).await.unwrap(), 2);
        assert!(key("acme").to_i64() > 0 && key("acme2026").to_i64() < 0, "keys of both signs");
        assert_eq!(list.add_listed_passwords(&[key("acme2026"), key("acme2028")]).await.unwrap(), 1);
        for listed in ["acme", "acme2026", "acme2028"] {
            assert!(users.is_password_listed(key(listed)).await.unwrap(), "{listed}");
        }
        assert!(!users.is_password_listed(key("acme2027")).await.unwrap());
        assert_eq!(list.count_listed_passwords().await.unwrap(), 3);

        assert_eq!(list.remove_listed_passwords(2).await.unwrap(), 2);
        assert_eq!(list.remove_listed_passwords(2).await.unwrap(), 1);
        assert_eq!(list.remove_listed_passwords(2).await.unwrap(), 0);
        assert!(!users.is_password_listed(key("acme2026")).await.unwrap());
    }
}

#[tokio::test]
async fn a_full_batch_is_added_once_by_concurrent_callers() {
    for backend in user_backends().await {
        let keys: Vec<_> = (0..2_000).map(|n| key(&format!("word{n}"))).collect();
        let list = &backend.password_list;
        let (first, second) = tokio::join!(list.add_listed_passwords(&keys), list.add_listed_passwords(&keys));
        assert_eq!(first.unwrap() + second.unwrap(), 2_000, "{}", backend.name);
        assert_eq!(list.count_listed_passwords().await.unwrap(), 2_000);
    }
}
