//! People who change their passwords or register while the load goes on, at the server to which nginx sends them.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::client::{DialectKind, encode_base64};
use crate::load::Load;
use crate::old_world::OldWorld;
use crate::people::{Account, Person};
use crate::requests::{Answer, OldClients};

/// Where the codes are that a server has sent.
pub(crate) trait Codes {
    /// The code that was sent last to this phone.
    fn code(&self, phone: &str) -> String;
}

impl Codes for stele_old_servers::OldServer {
    fn code(&self, phone: &str) -> String {
        self.code(phone).expect("a code was sent")
    }
}

impl Codes for crate::support::Server {
    fn code(&self, phone: &str) -> String {
        self.next_code(phone, 0)
    }
}

/// People of each table change their password at the old server, which Stele cannot know. Returns how many of each.
pub(crate) async fn change_at_old_servers(load: &Load, old: &OldWorld, count: usize) {
    for dialect in DialectKind::ALL {
        let may_change = |account: &&Account| {
            let person = load.person(account);
            account.dialect == dialect
                && !account.is_disabled
                && !person.has_other_password.load(Ordering::Relaxed)
                && person.number % 7 == dialect as usize
        };
        for account in load.population.accounts.iter().filter(may_change).take(count) {
            let person = load.person(account);
            let _changing = person.changing.write().await;
            person.has_other_password.store(true, Ordering::Relaxed);
            let new = format!("{}-changed", account.password());
            change_password(&load.clients, person, account, old.server(dialect), &new).await;
            account.set_password(&new);
        }
    }
}

/// People change their password at Stele, through one of their accounts, for all of them. Returns how many.
pub(crate) async fn change_at_stele(load: &Load, codes: &impl Codes, dialect: DialectKind, count: usize) -> usize {
    let may_change = |account: &&Account| {
        let person = load.person(account);
        let is_in_cloudbox = load.population.accounts_of(person.number).any(|a| a.dialect == DialectKind::Cloudbox);
        account.dialect == dialect
            && is_in_cloudbox
            && !account.is_disabled
            && !person.has_other_password.load(Ordering::Relaxed)
            && !account.password().contains("Stele")
    };
    let chosen: Vec<_> = load.population.accounts.iter().filter(may_change).take(count).collect();
    for account in &chosen {
        let person = load.person(account);
        let _changing = person.changing.write().await;
        let new = format!("Stele-{}", person.number);
        change_password(&load.clients, person, account, codes, &new).await;
        load.population.accounts_of(person.number).for_each(|account| account.set_password(&new));
    }
    chosen.len()
}

/// The people who have not registered yet register at the old portal.
pub(crate) async fn register_newcomers(load: &Load, old: &OldWorld) {
    for account in load.population.accounts.iter().filter(|a| !a.is_registered.load(Ordering::Relaxed)) {
        let (clients, person) = (&load.clients, load.person(account));
        let phone = account.identifiers[0].as_str();
        let sent = clients.post_form(person, "/code/send", &[], &[("username", phone)]).await.unwrap();
        sent.response.assert_success();
        let code = encode_base64(&Codes::code(old.server(DialectKind::Portal), phone));
        let fields = [("username", phone), ("password", &encode_base64(&account.password())), ("code", &code)];
        clients.post_form(person, "/i/register", &[], &fields).await.unwrap().response.assert_success();
        account.is_registered.store(true, Ordering::Relaxed);
    }
}

/// Changes the password of an account as the client of its dialect does.
pub(crate) async fn change_password(
    clients: &OldClients,
    person: &Person,
    account: &Account,
    codes: &impl Codes,
    new: &str,
) {
    let answer = match account.dialect {
        DialectKind::Cloudbox | DialectKind::Tms => clients.change_password(person, account, new).await,
        DialectKind::Portal => reset_in_portal(clients, person, account, codes, new).await,
        DialectKind::Mefp => reset_in_mefp(clients, person, account, codes, new).await,
        DialectKind::Jwt => change_in_jwt(clients, person, account, new).await,
    };
    answer.response.assert_success();
}

async fn reset_in_portal(
    clients: &OldClients,
    person: &Person,
    account: &Account,
    codes: &impl Codes,
    new: &str,
) -> Answer {
    let phone = account.phone().expect("portal users have a phone");
    let sent = clients.post_form(person, "/code/send", &[], &[("username", phone)]).await.unwrap();
    sent.response.assert_success();
    let code = encode_base64(&codes.code(phone));
    let fields = [("username", phone), ("password", &encode_base64(new)), ("code", &code)];
    clients.post_form(person, "/i/resetpwd", &[], &fields).await.unwrap()
}

async fn reset_in_mefp(
    clients: &OldClients,
    person: &Person,
    account: &Account,
    codes: &impl Codes,
    new: &str,
) -> Answer {
    let phone = account.phone().expect("MeFP users have a phone");
    let sent = clients.call_mefp(person, "/auth/captcha", &json!({ "login_name": phone, "usage": 2 })).await.unwrap();
    sent.response.assert_success();
    let message = json!({ "login_name": phone, "captcha": codes.code(phone), "new_password": new });
    clients.call_mefp(person, "/auth/forgot", &message).await.unwrap()
}

async fn change_in_jwt(clients: &OldClients, person: &Person, account: &Account, new: &str) -> Answer {
    let name = &account.identifiers[0];
    let login = clients.log_in(person, account, name, &account.password()).await.unwrap();
    let token = login.response.headers["authorization"].to_str().unwrap().to_owned();
    login.response.assert_success();
    let fields = [("account", name.as_str()), ("password", new)];
    clients.post_form(person, "/api/v1/Auth/updatePassword", &[("authorization", &token)], &fields).await.unwrap()
}
