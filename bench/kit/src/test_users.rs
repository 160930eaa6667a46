//! Users, many at once, through the product's own stores.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use stele_app::Environment;
use stele_app::context::{self, ContextBuilder};
use stele_core::Dependencies;
use stele_core::identifier::{Email, Phone, Username};
use stele_core::password::PasswordDigest;
use stele_core::user::{Credential, NewUser, Profile, Role, UserId};

use crate::{BenchError, Installation, Progress, Result};

/// How many are stored at once.
const CONCURRENCY: usize = 16;

/// A user by the identifiers that each dialect takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestUser {
    /// The name.
    pub name: String,
    /// The phone; every dialect takes it.
    pub phone: String,
    /// The e-mail address.
    pub email: String,
}

impl TestUser {
    /// The person of this number, below 100,000,000.
    pub fn numbered(number: usize) -> Self {
        Self {
            name: format!("person-{number}"),
            phone: format!("138{number:08}"),
            email: format!("person-{number}@example.com"),
        }
    }

    fn new_user(&self, deps: &Dependencies, digest: &[u8; 16], verifier: &str) -> Result<NewUser> {
        let unfit = || BenchError::new(format!("{} cannot be a user", self.name));
        let id = UserId::from_random(deps.random.bits128());
        // What a user's sealed digest is bound to: `core::usecase::credential`.
        let sealed = deps.seal(&[b"user\0", id.as_bytes().as_slice()].concat(), digest);
        Ok(NewUser {
            id,
            name: Some(Username::parse(&self.name).ok_or_else(unfit)?),
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
async fn open_dependencies(site: &Installation) -> Result<Dependencies> {
    let (settings, surroundings) = (site.product_settings(), Environment::default());
    let delivery = context::delivery_config(&settings, &surroundings)?.open(&surroundings.metrics)?;
    Ok(ContextBuilder::open(settings, surroundings, delivery).await?.dependencies)
}

/// Adds the people numbered `first` and on, who all have `password`. It is hashed once for all of them, at the site's
/// cost: a hundred thousand are then a matter of the database alone, and each is checked as any other.
///
/// # Errors
/// If one is there already; faults of the store.
pub async fn add_test_users(site: &Installation, first: usize, count: usize, password: &str) -> Result<Vec<TestUser>> {
    use md5::Digest as _;
    let digest: [u8; 16] = md5::Md5::digest(password.as_bytes()).into();
    let deps = &open_dependencies(site).await?;
    let verifier = deps.hasher.hash(PasswordDigest::from_bytes(digest), deps.random.bits128()).await?;
    let people: Vec<_> = (first..first + count).map(TestUser::numbered).collect();
    // A handful is there before a bar is drawn.
    let progress = (count >= 1_000).then(|| Progress::new("users added", count as u64));
    let (verifier, shown) = (verifier.as_str(), progress.as_ref());
    let each = people.iter().map(|person| async move {
        let new = person.new_user(deps, &digest, verifier)?;
        let added = deps.users.add(&new).await?;
        added.ok_or_else(|| BenchError::new(format!("{} is there already", person.name)))?;
        if let Some(progress) = shown {
            progress.add(1);
        }
        Ok::<_, BenchError>(())
    });
    stream::iter(each).buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
    if let Some(progress) = progress {
        progress.finish();
    }
    Ok(people)
}
