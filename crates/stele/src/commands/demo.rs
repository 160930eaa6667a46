//! `stele up --demo`: demo users, one for each dialect, and a `curl` command that logs each of them in; and commands that
//! exchange and introspect a session token.

mod standard_tokens;

use std::fmt::Write as _;
use std::net::SocketAddr;

use stele_app::Context;
use stele_core::identifier::{Phone, Username};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::random::{OsRandom, Random as _};
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::add_user::{AddUserRequest, ProvidedSecret};
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::user::{Gender, Profile, Role, UserRef};
use stele_core::{Error, UseCases};
use stele_service::ConfigError;

use super::CommandError;

/// The MeFP app that the demo registers.
const DEMO_APP: &str = "demo";
const PORTAL_PHONE: &str = "13800138003";
const MEFP_PHONE: &str = "13800138004";

/// How a demo user logs in through a dialect.
struct DemoLogin {
    dialect: &'static str,
    url: String,
    user: &'static str,
    /// The `curl` command that logs the user in.
    curl: String,
}

/// Creates the demo users, the MeFP app, the resource server and the client, or sets new passwords and secrets of those
/// that exist. Returns a table of the logins and their `curl` commands, and those of the OAuth endpoints.
pub(super) async fn prepare(context: &Context, listen: SocketAddr) -> Result<String, CommandError> {
    let use_cases = &context.use_cases;
    let password = OsRandom.hex128()[..10].to_owned();
    ensure_user(use_cases, "demo-cloudbox", None, Role::User, &password).await?;
    ensure_user(use_cases, "demo-tms", None, Role::Admin, &password).await?;
    ensure_user(use_cases, "demo-portal", Some(PORTAL_PHONE), Role::User, &password).await?;
    ensure_user(use_cases, "demo-mefp", Some(MEFP_PHONE), Role::User, &password).await?;
    ensure_user(use_cases, "demo-jwt", None, Role::User, &password).await?;
    let token = create_tms_token(use_cases, listen, &password).await?;
    let logins = [
        build_salted_login(
            listen,
            "cloudbox",
            "/api/v1/cloudbox/smarttms/auth/authsalt",
            "demo-cloudbox",
            &password,
            None,
        ),
        build_salted_login(
            listen,
            "tms",
            "/container/api/v1/cloudbox/tms/auth/authsalt",
            "demo-tms",
            &password,
            Some(&token),
        ),
        build_portal_login(listen, &password),
        prepare_mefp_login(context, listen, &password).await?,
        build_jwt_login(listen, &password),
    ];
    let standard_tokens = standard_tokens::prepare(&context.settings, listen, &token).await?;
    Ok(render_table(&logins, &password, &standard_tokens))
}

/// Creates the user, or sets the password of the user with this name.
async fn ensure_user(
    use_cases: &UseCases,
    name: &str,
    phone: Option<&str>,
    role: Role,
    password: &str,
) -> Result<(), CommandError> {
    let creation_error = || ConfigError::new(format!("the demo user {name} cannot be created"));
    let password =
        NewPassword::from_administrator(&RawPassword::new(password.to_owned())).ok_or_else(creation_error)?;
    match use_cases.find_user(name).await {
        Ok(user) => return Ok(use_cases.provision_password(UserRef::Id(user.id), &password).await?),
        Err(Error::UnknownUser) => {}
        Err(error) => return Err(error.into()),
    }
    let profile = Profile { real_name: "演示".to_owned(), gender: Some(Gender::Female), ..Profile::default() };
    let request = AddUserRequest {
        name: Username::parse(name).ok_or_else(creation_error)?,
        phone: phone.and_then(Phone::parse),
        email: None,
        role,
        profile,
        secret: ProvidedSecret::Password(password),
    };
    match use_cases.add_user(request).await {
        Err(Error::IdentifierTaken) => Err(ConfigError::new(format!(
            "another user has {}; run --demo on a separate data folder",
            phone.unwrap_or(name)
        ))
        .into()),
        other => Ok(other.map(|_| ())?),
    }
}

/// Logs in the TMS user. The `curl` command needs the session token, because a TMS login is accepted only with a client
/// token or a user's token (docs/PROTOCOLS.md).
async fn create_tms_token(use_cases: &UseCases, listen: SocketAddr, password: &str) -> Result<Token, CommandError> {
    let request = LoginRequest {
        identifier: "demo-tms",
        proof: Proof::Raw(RawPassword::new(password.to_owned())),
        caller: &RequestInfo::from_client("tms", listen.ip()),
        allowed_users: AllowedUsers::Everyone,
        challenge: Challenge::Never,
        transport: SessionTransport::Token,
    };
    Ok(use_cases.login(request).await?.token)
}

fn build_salted_login(
    listen: SocketAddr,
    dialect: &'static str,
    path: &str,
    user: &'static str,
    password: &str,
    token: Option<&Token>,
) -> DemoLogin {
    let url = format!("http://{listen}{path}");
    let authorization = token.map(|token| format!(" -H 'Authorization: {}'", token.expose())).unwrap_or_default();
    let proof = format!("$(printf %s \"$(printf %s '{password}' | md5sum | cut -c1-32)$TS\" | md5sum | cut -c1-32)");
    let body = format!("'{{\"username\":\"{user}\",\"password\":\"'{proof}'\",\"timestamp\":'$TS'}}'");
    let curl = format!("TS=$(date +%s); curl -s {url} -H 'Content-Type: application/json'{authorization} -d {body}");
    DemoLogin { dialect, url, user, curl }
}

fn build_portal_login(listen: SocketAddr, password: &str) -> DemoLogin {
    let url = format!("http://{listen}/i/login");
    let curl = format!(
        "curl -s {url} -d username={PORTAL_PHONE} --data-urlencode \"password=$(printf %s '{password}' | base64)\""
    );
    DemoLogin { dialect: "portal", url, user: PORTAL_PHONE, curl }
}

/// Registers the demo app if it is missing.
async fn prepare_mefp_login(context: &Context, listen: SocketAddr, password: &str) -> Result<DemoLogin, CommandError> {
    let use_cases = &context.use_cases;
    if use_cases.find_app_with_secret(DEMO_APP).await?.0.is_none() {
        use_cases.add_app(DEMO_APP, None, vec![DEMO_APP.to_owned()]).await?;
    }
    let (key, (_, iv)) =
        (svc_mefp::secret::load_secret(&context.settings)?, use_cases.find_app_with_secret(DEMO_APP).await?);
    let (key, iv) = (stele_core::hex::encode(key.as_bytes()), stele_core::hex::encode(&*iv));
    let encrypt = format!("openssl enc -aes-256-cbc -a -A -K {key} -iv {iv}");
    let body = format!("'{{\"login_name\":\"{MEFP_PHONE}\",\"password\":\"{password}\"}}'");
    let envelope = format!("'{{\"app_from\":\"{DEMO_APP}\",\"encrypt\":\"'$(printf %s {body} | {encrypt})'\"}}'");
    let url = format!("http://{listen}/auth/login");
    let decrypt = format!("sed 's/.*\"encrypt\":\"\\([^\"]*\\)\".*/\\1/' | {encrypt} -d");
    let curl = format!("curl -s {url} -H 'Content-Type: application/json' -d {envelope} | {decrypt}");
    Ok(DemoLogin { dialect: "mefp", url, user: MEFP_PHONE, curl })
}

fn build_jwt_login(listen: SocketAddr, password: &str) -> DemoLogin {
    let url = format!("http://{listen}/api/v1/Auth/Login");
    let curl = format!("curl -s {url} -d account=demo-jwt -d password={password}");
    DemoLogin { dialect: "jwt", url, user: "demo-jwt", curl }
}

fn render_table(logins: &[DemoLogin], password: &str, standard_tokens: &str) -> String {
    let column_width = |cell: fn(&DemoLogin) -> &str| logins.iter().map(|login| cell(login).len()).max().unwrap_or(0);
    let (url_width, user_width) = (column_width(|login| &login.url), column_width(|login| login.user));
    let mut out = format!("\n{:<9} {:<url_width$}  {:<user_width$}  password\n", "dialect", "URL", "user");
    for DemoLogin { dialect, url, user, .. } in logins {
        let _ = writeln!(out, "{dialect:<9} {url:<url_width$}  {user:<user_width$}  {password}");
    }
    out += "\nPaste any of these (each user can log in through every dialect that takes their identifier):\n";
    for DemoLogin { dialect, curl, .. } in logins {
        let _ = write!(out, "\n# {dialect}\n{curl}; echo\n");
    }
    out += "\nStandard tokens for the session of demo-tms (docs/STANDARD-TOKENS.md):\n";
    out + standard_tokens + "\n"
}
