//! Users, many at once, through the product's own stores.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use stele_app::Surroundings;
use stele_app::context::{self, Assembly};
use stele_core::Deps;
use stele_core::identifier::{Email, Name, Phone};
use stele_core::password::PasswordDigest;
use stele_core::user::{Credential, NewUser, Profile, Role, UserId};

use crate::{Failure, Progress, Result, Site};

/// How many are stored at once.
const AT_ONCE: usize = 16;

/// A user by the identifiers that each dialect takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The phone; every dialect takes it.
    pub phone: String,
    /// The e-mail address.
    pub email: String,
}

impl Person {
    /// The person of this number, below 100,000,000.
    pub fn numbered(number: usize) -> Self {
        Self {
            name: format!("person-{number}"),
            phone: format!("138{number:08}"),
            email: format!("person-{number}@example.com"),
        }
    }

    fn new_user(&self, deps: &Deps, digest: &[u8; 16], verifier: &str) -> Result<NewUser> {
        let unfit = || Failure::new(format!("{} cannot be a user", self.name));
        let id = UserId::from_random(deps.random.bits128());
        // What a user's sealed digest is bound to: `core::usecase::credential`.
        let sealed = deps.seal(&[b"user\0", id.as_bytes().as_slice()].concat(), digest);
        Ok(NewUser {
            id,
            name: Some(Name::parse(&self.name).ok_or_else(unfit)?),
            phone: Some(Phone::parse(&self.phone).ok_or_else(unfit)?),
            email: Some(Email::parse(&self.email).ok_or_else(unfit)?),
            registered_with: None,
            registered_through: String::new(),
            registered_at: deps.now(),
            alias_id: deps.random.hex128(),
            role: Role::User,
            profile: Profile::default(),
            credential: Credential { verifier: verifier.to_owned(), sealed: Some(sealed) },
        })
    }
}

/// The site's stores, keys and rules.
async fn deps(site: &Site) -> Result<Deps> {
    let (settings, surroundings) = (site.settings(), Surroundings::default());
    let delivery = context::plan(&settings, &surroundings)?.open(&surroundings.metrics)?;
    Ok(Assembly::open(settings, surroundings, delivery).await?.deps)
}

/// Adds the people numbered `first` and on, who all have `password`. It is hashed once for all of them, at the site's
/// cost: a hundred thousand are then a matter of the database alone, and each is checked as any other.
///
/// # Errors
/// If one is there already; faults of the store.
pub async fn add(site: &Site, first: usize, count: usize, password: &str) -> Result<Vec<Person>> {
    use md5::Digest as _;
    let digest: [u8; 16] = md5::Md5::digest(password.as_bytes()).into();
    let deps = &deps(site).await?;
    let verifier = deps.hasher.hash(PasswordDigest::from_bytes(digest), deps.random.bits128()).await?;
    let people: Vec<_> = (first..first + count).map(Person::numbered).collect();
    // A handful is there before a bar is drawn.
    let progress = (count >= 1_000).then(|| Progress::new("users added", count as u64));
    let (verifier, shown) = (verifier.as_str(), progress.as_ref());
    let each = people.iter().map(|person| async move {
        let new = person.new_user(deps, &digest, verifier)?;
        let added = deps.users.add(&new).await?;
        added.ok_or_else(|| Failure::new(format!("{} is there already", person.name)))?;
        if let Some(progress) = shown {
            progress.add(1);
        }
        Ok::<_, Failure>(())
    });
    stream::iter(each).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    if let Some(progress) = progress {
        progress.finish();
    }
    Ok(people)
}
