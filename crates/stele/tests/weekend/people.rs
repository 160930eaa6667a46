//! The people of the five old tables: who is in which table, under which names, ids and passwords.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use stele_old_servers::{OldUser, PasswordFormat, StoredPassword, TableSchema};
use tokio::sync::RwLock;

use crate::client::DialectKind;

/// Client addresses that the people share.
pub(crate) const ADDRESSES: usize = 40;
/// Wrong passwords that a person sends before the account would be locked.
const MAX_WRONG: u32 = 2;

/// A person. Logins hold `changing` for reading, a change of the password holds it for writing.
pub(crate) struct Person {
    pub(crate) number: usize,
    pub(crate) changing: RwLock<()>,
    /// Has a password at an old server that Stele cannot know: another one than in the first table, or one that was
    /// changed there after the import.
    pub(crate) has_other_password: AtomicBool,
    wrong: AtomicU32,
    logins: AtomicU64,
}

/// What a person has at one old server.
pub(crate) struct Account {
    pub(crate) person: usize,
    pub(crate) dialect: DialectKind,
    /// What the person may type: name, phone as it is stored, e-mail address.
    pub(crate) identifiers: Vec<String>,
    pub(crate) id: String,
    /// Empty if the old server has none.
    pub(crate) gid: String,
    pub(crate) is_disabled: bool,
    /// False until the person registers.
    pub(crate) is_registered: AtomicBool,
    password: Mutex<String>,
}

impl Person {
    fn new(number: usize, has_other_password: bool) -> Self {
        Self {
            number,
            changing: RwLock::default(),
            has_other_password: AtomicBool::new(has_other_password),
            wrong: AtomicU32::new(0),
            logins: AtomicU64::new(0),
        }
    }

    /// The index of the client address.
    pub(crate) fn address_index(&self) -> usize {
        self.number % ADDRESSES
    }

    /// A timestamp that this person's proofs have not had yet.
    pub(crate) fn timestamp(&self) -> u64 {
        now() + self.logins.fetch_add(1, Ordering::Relaxed) % 250
    }

    /// Whether the person may send a wrong password now.
    pub(crate) fn may_be_wrong(&self) -> bool {
        !self.has_other_password.load(Ordering::Relaxed) && self.wrong.fetch_add(1, Ordering::Relaxed) < MAX_WRONG
    }
}

#[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

impl Account {
    pub(crate) fn password(&self) -> String {
        self.password.lock().unwrap().clone()
    }

    pub(crate) fn set_password(&self, password: &str) {
        password.clone_into(&mut self.password.lock().unwrap());
    }

    /// The phone, as it is stored.
    pub(crate) fn phone(&self) -> Option<&str> {
        self.identifiers.iter().map(String::as_str).find(|text| !text.contains(|c: char| c.is_alphabetic() || c == '@'))
    }
}

/// The address of a group of people.
pub(crate) fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 7, 1, u8::try_from(index + 1).unwrap())
}

/// The people, their accounts, and the accounts as rows of the five tables, in the order of [`DialectKind`].
pub(crate) struct Population {
    pub(crate) people: Vec<Person>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) tables: [Vec<OldUser>; 5],
}

/// The schema of each table, in the order of [`DialectKind`].
pub(crate) fn schemas() -> [TableSchema; 5] {
    [
        TableSchema::cloudbox(),
        TableSchema::tms(),
        TableSchema::portal(PasswordFormat::Base64),
        TableSchema::mefp(PasswordFormat::Md5PasswordSalt),
        TableSchema::jwt(PasswordFormat::IdentityV3),
    ]
}

impl Population {
    /// People with the numbers below `count`: every combination of tables occurs, and one of five people who are in
    /// several tables has another password in each.
    pub(crate) fn new(count: usize) -> Self {
        let mut population =
            Self { people: Vec::new(), accounts: Vec::new(), tables: std::array::from_fn(|_| Vec::new()) };
        for number in 0..count {
            let tables: Vec<_> =
                DialectKind::ALL.into_iter().filter(|kind| ((number % 31) + 1) >> *kind as usize & 1 == 1).collect();
            let has_other_password = tables.len() > 1 && number % 5 == 4;
            population.people.push(Person::new(number, has_other_password));
            for dialect in &tables {
                let password = if has_other_password {
                    format!("Harbor-{number}-{dialect:?}")
                } else {
                    format!("Harbor-{number}")
                };
                let is_only_account = tables.len() == 1;
                let user = new_user(number, *dialect, &password, is_only_account);
                population.add(user, number, *dialect, &password);
            }
        }
        population
    }

    /// Adds people who will register at the portal, which gives them the next ids.
    pub(crate) fn add_newcomers(&mut self, count: usize) {
        let portal = &self.tables[DialectKind::Portal as usize];
        let last_id = portal.iter().map(|user| user.id.parse::<usize>().unwrap()).max().unwrap();
        for n in 1..=count {
            let number = self.people.len();
            self.people.push(Person::new(number, false));
            self.accounts.push(Account {
                person: number,
                dialect: DialectKind::Portal,
                identifiers: vec![format!("137{:08}", 20_000_000 + n)],
                id: (last_id + n).to_string(),
                gid: String::new(),
                is_disabled: false,
                is_registered: AtomicBool::new(false),
                password: Mutex::new(format!("Newcomer-{n}")),
            });
        }
    }

    /// The accounts of a person.
    pub(crate) fn accounts_of(&self, person: usize) -> impl Iterator<Item = &Account> {
        self.accounts.iter().filter(move |account| account.person == person)
    }

    fn add(&mut self, user: OldUser, person: usize, dialect: DialectKind, password: &str) {
        let known = match dialect {
            DialectKind::Cloudbox | DialectKind::Tms | DialectKind::Jwt => [&user.name, &user.phone, &user.email],
            DialectKind::Portal => [&String::new(), &user.phone, &user.email],
            DialectKind::Mefp => [&String::new(), &user.phone, &String::new()],
        };
        let identifiers = known.into_iter().filter(|text| !text.is_empty()).cloned().collect();
        self.accounts.push(Account {
            person,
            dialect,
            identifiers,
            id: user.id.clone(),
            gid: user.gid.clone(),
            is_disabled: user.is_disabled,
            is_registered: AtomicBool::new(true),
            password: Mutex::new(password.to_owned()),
        });
        self.tables[dialect as usize].push(user);
    }
}

/// A row. Phones are written in other ways in each table, and the names are the same for one of four people.
fn new_user(number: usize, dialect: DialectKind, password: &str, is_only_account: bool) -> OldUser {
    let schema = schemas()[dialect as usize];
    let id = match dialect {
        DialectKind::Cloudbox => format!("{number:08x}-d00b-41e7-8afd-{number:012x}"),
        // Ids of several tables are equal, and mean different people.
        DialectKind::Tms => (number + 4).to_string(),
        DialectKind::Portal | DialectKind::Mefp | DialectKind::Jwt => (number + 1).to_string(),
    };
    let name =
        if number.is_multiple_of(4) { format!("user{number}") } else { format!("{dialect:?}{number}").to_lowercase() };
    let mut user = OldUser::new(&id, &name, StoredPassword::new(schema.format, password));
    let digits = format!("139{:08}", 10_000_000 + number);
    let has_phone =
        matches!(dialect, DialectKind::Portal | DialectKind::Mefp) || !is_only_account || number.is_multiple_of(2);
    if has_phone {
        user.phone = match dialect {
            DialectKind::Portal | DialectKind::Mefp => digits,
            _ => spell(&digits, number + dialect as usize),
        };
    }
    if dialect == DialectKind::Portal {
        user.name = String::new();
        user.gid = (300_001 + number).to_string();
    }
    if !matches!(dialect, DialectKind::Tms | DialectKind::Mefp) && !number.is_multiple_of(3) {
        user.email = format!("p{number}@example.com");
    }
    user.is_disabled = dialect == DialectKind::Cloudbox && is_only_account && number.is_multiple_of(2);
    user
}

fn spell(digits: &str, way: usize) -> String {
    let (start, middle, end) = (&digits[..3], &digits[3..7], &digits[7..]);
    match way % 4 {
        0 => digits.to_owned(),
        1 => format!("+86 {start}-{middle}-{end}"),
        2 => format!("{start} {middle} {end}"),
        _ => format!("86{digits}"),
    }
}
