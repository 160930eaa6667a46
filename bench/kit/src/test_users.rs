//! Test users, added in bulk through the product's own stores.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use stele_app::Environment;
use stele_app::context::{self, ContextBuilder};
use stele_core::Dependencies;
use stele_core::identifier::{Email, Phone, Username};
use stele_core::password::PasswordDigest;
use stele_core::user::{Credential, NewUser, Profile, Role, UserId};

use crate::{BenchError, Installation, Progress, Result};

/// Users that are stored concurrently.
const CONCURRENCY: usize = 16;

/// A user's identifiers, one for each kind that dialects accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestUser {
    /// The user name.
    pub name: String,
    /// The phone number, which every dialect accepts.
    pub phone: String,
    /// The e-mail address.
    pub email: String,
}

impl TestUser {
    /// The user with this number, which must be below 100,000,000.
    pub fn numbered(number: usize) -> Self {
        Self {
            name: format!("person-{number}"),
            phone: format!("138{number:08}"),
            email: format!("person-{number}@example.com"),
        }
    }

    fn new_user(&self, deps: &Dependencies, digest: &[u8; 16], verifier: &str) -> Result<NewUser> {
        let invalid = || BenchError::new(format!("{} has an invalid identifier", self.name));
        let id = UserId::from_random(deps.random.bits128());
        // Associated data of a sealed digest, as in `core::usecase::credential`.
        let sealed = deps.seal(&[b"user\0", id.as_bytes().as_slice()].concat(), digest);
        Ok(NewUser {
            id,
            name: Some(Username::parse(&self.name).ok_or_else(invalid)?),
            phone: Some(Phone::parse(&self.phone).ok_or_else(invalid)?),
            email: Some(Email::parse(&self.email).ok_or_else(invalid)?),
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

/// Opens the installation's stores and keys.
async fn open_dependencies(installation: &Installation) -> Result<Dependencies> {
    let (settings, environment) = (installation.product_settings(), Environment::default());
    let delivery = context::delivery_config(&settings, &environment)?.open(&environment.metrics)?;
    Ok(ContextBuilder::open(settings, environment, delivery).await?.dependencies)
}

/// Adds `count` users from number `first`, all with `password`. The password is hashed once, at the installation's
/// cost, so that adding 100,000 users takes only database time; logins verify it as usual.
///
/// # Errors
/// If a user exists already, or the stores cannot be opened or fail.
pub async fn add_test_users(
    installation: &Installation,
    first: usize,
    count: usize,
    password: &str,
) -> Result<Vec<TestUser>> {
    use md5::Digest as _;
    let digest: [u8; 16] = md5::Md5::digest(password.as_bytes()).into();
    let deps = &open_dependencies(installation).await?;
    let verifier = deps.hasher.hash(PasswordDigest::from_bytes(digest), deps.random.bits128()).await?;
    let users: Vec<_> = (first..first + count).map(TestUser::numbered).collect();
    // No progress for fewer users: they are added before a bar would be drawn.
    let progress = (count >= 1_000).then(|| Progress::new("users added", count as u64));
    let (verifier, progress_ref) = (verifier.as_str(), progress.as_ref());
    let additions = users.iter().map(|user| async move {
        let new_user = user.new_user(deps, &digest, verifier)?;
        let user_id = deps.users.add(&new_user).await?;
        user_id.ok_or_else(|| BenchError::new(format!("the user {} exists already", user.name)))?;
        if let Some(progress) = progress_ref {
            progress.add(1);
        }
        Ok::<_, BenchError>(())
    });
    stream::iter(additions).buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
    if let Some(progress) = progress {
        progress.finish();
    }
    Ok(users)
}
