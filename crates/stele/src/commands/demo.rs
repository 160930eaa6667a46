//! `stele up --demo`: creates a user for each dialect and prints a working `curl` command for each.

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

struct DemoLogin {
    dialect: &'static str,
    url: String,
    user: &'static str,
    curl: String,
}

/// Creates the users, or sets their new password, and returns a table of logins with a `curl` command for each dialect.
pub(super) async fn prepare(context: &Context, listen: SocketAddr) -> Result<String, CommandError> {
    let use_cases = &context.use_cases;
    let password = OsRandom.hex128()[..10].to_owned();
    ensure_user(use_cases, "demo-cloudbox", None, Role::User, &password).await?;
    ensure_user(use_cases, "demo-tms", None, Role::Admin, &password).await?;
    ensure_user(use_cases, "demo-portal", Some(PORTAL_PHONE), Role::User, &password).await?;
    ensure_user(use_cases, "demo-mefp", Some(MEFP_PHONE), Role::User, &password).await?;
    ensure_user(use_cases, "demo-jwt", None, Role::User, &password).await?;
    let token = tms_token(use_cases, listen, &password).await?;
    let lines = [
        salted_login(listen, "cloudbox", "/api/v1/cloudbox/smarttms/auth/authsalt", "demo-cloudbox", &password, None),
        salted_login(
            listen,
            "tms",
            "/container/api/v1/cloudbox/tms/auth/authsalt",
            "demo-tms",
            &password,
            Some(&token),
        ),
        portal_login(listen, &password),
        mefp_login(context, listen, &password).await?,
        jwt_login(listen, &password),
    ];
    Ok(render_table(&lines, &password))
}

async fn ensure_user(
    use_cases: &UseCases,
    name: &str,
    phone: Option<&str>,
    role: Role,
    password: &str,
) -> Result<(), CommandError> {
    let invalid = || ConfigError::new(format!("the demo user {name} cannot be created"));
    let password = NewPassword::from_administrator(&RawPassword::new(password.to_owned())).ok_or_else(invalid)?;
    match use_cases.find_user(name).await {
        Ok(user) => return Ok(use_cases.provision_password(UserRef::Id(user.id), &password).await?),
        Err(Error::UnknownUser) => {}
        Err(error) => return Err(error.into()),
    }
    let profile = Profile { real_name: "演示".to_owned(), gender: Some(Gender::Female), ..Profile::default() };
    let request = AddUserRequest {
        name: Username::parse(name).ok_or_else(invalid)?,
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

/// A session token of the TMS user: TMS's logins need a client token or a user's token (docs/PROTOCOLS.md).
async fn tms_token(use_cases: &UseCases, listen: SocketAddr, password: &str) -> Result<Token, CommandError> {
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

fn salted_login(
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

fn portal_login(listen: SocketAddr, password: &str) -> DemoLogin {
    let url = format!("http://{listen}/i/login");
    let curl = format!(
        "curl -s {url} -d username={PORTAL_PHONE} --data-urlencode \"password=$(printf %s '{password}' | base64)\""
    );
    DemoLogin { dialect: "portal", url, user: PORTAL_PHONE, curl }
}

async fn mefp_login(context: &Context, listen: SocketAddr, password: &str) -> Result<DemoLogin, CommandError> {
    let use_cases = &context.use_cases;
    if use_cases.find_app_with_secret(DEMO_APP).await?.0.is_none() {
        use_cases.add_app(DEMO_APP, None, vec![DEMO_APP.to_owned()]).await?;
    }
    let (key, (_, iv)) =
        (svc_mefp::secret::load_secret(&context.settings)?, use_cases.find_app_with_secret(DEMO_APP).await?);
    let hex = stele_core::hex::encode;
    let aes = format!("openssl enc -aes-256-cbc -a -A -K {} -iv {}", hex(key.as_bytes()), hex(&*iv));
    let body = format!("'{{\"login_name\":\"{MEFP_PHONE}\",\"password\":\"{password}\"}}'");
    let envelope = format!("'{{\"app_from\":\"{DEMO_APP}\",\"encrypt\":\"'$(printf %s {body} | {aes})'\"}}'");
    let url = format!("http://{listen}/auth/login");
    let open = format!("sed 's/.*\"encrypt\":\"\\([^\"]*\\)\".*/\\1/' | {aes} -d");
    let curl = format!("curl -s {url} -H 'Content-Type: application/json' -d {envelope} | {open}");
    Ok(DemoLogin { dialect: "mefp", url, user: MEFP_PHONE, curl })
}

fn jwt_login(listen: SocketAddr, password: &str) -> DemoLogin {
    let url = format!("http://{listen}/api/v1/Auth/Login");
    let curl = format!("curl -s {url} -d account=demo-jwt -d password={password}");
    DemoLogin { dialect: "jwt", url, user: "demo-jwt", curl }
}

fn render_table(lines: &[DemoLogin], password: &str) -> String {
    let width = |cell: fn(&DemoLogin) -> &str| lines.iter().map(|line| cell(line).len()).max().unwrap_or(0);
    let (urls, users) = (width(|line| &line.url), width(|line| line.user));
    let mut out = format!("\n{:<9} {:<urls$}  {:<users$}  password\n", "dialect", "URL", "user");
    for DemoLogin { dialect, url, user, .. } in lines {
        let _ = writeln!(out, "{dialect:<9} {url:<urls$}  {user:<users$}  {password}");
    }
    out += "\nPaste any of these (each user can log in through every dialect that takes their identifier):\n";
    for DemoLogin { dialect, curl, .. } in lines {
        let _ = write!(out, "\n# {dialect}\n{curl}; echo\n");
    }
    out + "\n"
}
