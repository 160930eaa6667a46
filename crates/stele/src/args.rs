//! Command-line arguments of `stele`: commands, options, their help texts and value parsers.

mod audit;
mod import;
mod keys;
mod oauth;
mod passwords;
mod session;
mod sunset;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use stele_core::identifier::{Email, Phone, Username};
use stele_core::oauth::SigningAlgorithm;
use stele_core::text::find_invisible_in_text;
use stele_core::user::{Gender, Profile, Role};
use stele_service::common_settings::LISTEN;
use stele_service::config::DATA;
use stele_service::{AnySetting as _, ConfigError, Settings, cli, config};
use zeroize::Zeroizing;

pub use self::audit::{AuditOptions, When};
pub use self::import::{ExportFormat, ExportOptions, ImportCommand, ImportOptions, SourceOptions};
pub use self::keys::{ChallengeCommand, KeysCommand};
pub use self::oauth::{AddClientOptions, AddResourceOptions, ClientCommand, ResourceCommand, RotationOptions};
pub use self::passwords::PasswordsCommand;
pub use self::session::{EndSessionOptions, SessionCommand, SessionIdPrefix};
pub use self::sunset::{
    BrownoutAction, BrownoutOptions, OffOptions, StartTime, SunsetAction, SunsetOptions, UseReportOptions,
};
use crate::services;

/// One user base behind five login dialects.
#[derive(Debug, Parser)]
#[command(name = "stele", version, about, max_term_width = 120)]
pub struct Args {
    /// Data folder: embedded stores, keys, outbox (STELE_DATA)
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// TOML file with settings
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The command to run
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `stele`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway and all services in one process, by default on embedded stores
    Up {
        /// Address that the gateway listens on (STELE_LISTEN)
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<String>,
        /// Create a demo user for each dialect and print a curl command for each (STELE_DEMO)
        #[arg(long)]
        demo: bool,
        /// Serve HTTPS with a self-signed certificate that is generated at this start. For testing: clients do not
        /// trust it
        #[arg(long)]
        tls_self_signed: bool,
    },
    /// Add, list, show, disable and enable users, set passwords
    #[command(subcommand)]
    User(UserCommand),
    /// List the sessions of a user, and end one or all
    #[command(subcommand)]
    Session(SessionCommand),
    /// Import existing users from a file or a database: check, run, status, report, undo, map
    #[command(subcommand)]
    Import(Box<ImportCommand>),
    /// Write the users of an imported source with the columns of its map
    Export(ExportOptions),
    /// Register MeFP apps
    #[command(subcommand)]
    App(AppCommand),
    /// Issue TMS client tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Register OAuth clients: add, list, show, rotate, remove
    #[command(subcommand)]
    Client(ClientCommand),
    /// Register resource servers (OAuth): add, list, show, rotate, remove
    #[command(subcommand)]
    Resource(ResourceCommand),
    /// Key rotation: list, rotate and retire sealing keys and JWT signing keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Disable salted logins (cloudbox, TMS), or enable them again
    #[command(subcommand)]
    Challenge(ChallengeCommand),
    /// Add common passwords to the list that new ones are checked against (STELE_PASSWORD_LIST), and check a password
    #[command(subcommand)]
    Passwords(PasswordsCommand),
    /// How much each dialect is used and by whom; brown-outs; switching a dialect off
    Sunset(Box<SunsetOptions>),
    /// Read the audit log
    Audit(Box<AuditOptions>),
    /// Create missing keys, migrate the database to the current schema, and wrap hashes that earlier versions imported
    /// in argon2id
    Migrate,
    /// Print the settings in effect, and check keys, file permissions, routes, stores and delivery
    Check,
}

/// Add, list, show, disable and enable users, set passwords. USER is a name, phone, e-mail address, id or number.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user and print the user's id
    Add(Box<AddUserOptions>),
    /// List users, oldest first
    List {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show one user as JSON
    Show {
        /// Name, phone, e-mail address, id or number
        user: String,
    },
    /// Disable a user and revoke their sessions, codes and one-time tokens
    Disable {
        /// Name, phone, e-mail address, id or number
        user: String,
    },
    /// Enable a disabled user
    Enable {
        /// Name, phone, e-mail address, id or number
        user: String,
    },
    /// Set a user's password and revoke their sessions, codes and one-time tokens
    Passwd {
        /// Name, phone, e-mail address, id or number
        user: String,
        /// Read the password from the first line of standard input
        #[arg(long, required = true)]
        password_stdin: bool,
    },
}

/// Options of `stele user add`.
#[derive(Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("secret").required(true).args(["password_stdin", "hash_stdin"])))]
pub struct AddUserOptions {
    /// User name to log in with: 1 to 64 visible characters, no @
    #[arg(long, value_parser = parse_username)]
    pub username: Username,
    /// Phone number: 5 to 15 digits, or E.164 with +
    #[arg(long, value_parser = parse_phone)]
    pub phone: Option<Phone>,
    /// E-mail address
    #[arg(long, value_parser = parse_email)]
    pub email: Option<Email>,
    /// Role: admin or user
    #[arg(long, default_value = "user", value_parser = parse_role)]
    pub role: Role,
    /// Real name
    #[arg(long, value_parser = parse_printable_text)]
    pub real_name: Option<String>,
    /// Gender: 男 or 女
    #[arg(long, value_parser = parse_gender)]
    pub gender: Option<Gender>,
    /// Enterprise: a UUID (cloudbox)
    #[arg(long, value_parser = parse_enterprise_id)]
    pub enterprise: Option<String>,
    /// Group (cloudbox)
    #[arg(long, value_parser = parse_printable_text)]
    pub group: Option<String>,
    /// Nickname (cloudbox, TMS)
    #[arg(long, value_parser = parse_printable_text)]
    pub nickname: Option<String>,
    /// URL of the user's picture
    #[arg(long, value_parser = parse_printable_text)]
    pub avatar_url: Option<String>,
    /// Name of the organisation (JWT)
    #[arg(long, value_parser = parse_printable_text)]
    pub organization: Option<String>,
    /// Name of the department (JWT)
    #[arg(long, value_parser = parse_printable_text)]
    pub department: Option<String>,
    /// Description (JWT)
    #[arg(long, value_parser = parse_printable_text)]
    pub description: Option<String>,
    /// Id of the organisation (portal); makes the user an 组织用户
    #[arg(long, value_parser = parse_printable_text)]
    pub org_id: Option<String>,
    /// Memo (portal)
    #[arg(long, value_parser = parse_printable_text)]
    pub memo: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long, action = ArgAction::SetTrue)]
    pub password_stdin: bool,
    /// Import a password hash from the first line of standard input
    ///
    /// Formats: argon2 (PHC string), bcrypt, the hashes of WordPress, phpBB, Django and ASP.NET Identity as they are stored,
    /// 32 hex digits for md5(password), or $KIND$SALT$HASH. KIND is md5ps for md5(password + salt), md5sp for md5(salt +
    /// password), md5ds for md5(md5(password) + salt), or sha1ps, sha1sp, sha256ps or sha256sp. SALT and HASH are
    /// hexadecimal: the salt "ab" is written 6162.
    /// Hashes that are cheaper to guess from than argon2id are wrapped in argon2id. Salted logins work at once with a
    /// plain md5; with the other formats, they work after the user's first login with the password itself
    #[arg(long, action = ArgAction::SetTrue)]
    pub hash_stdin: bool,
}

impl AddUserOptions {
    /// The user's profile as given by the options. A text whose option is missing is empty; the gender is `None`.
    pub fn profile(&self) -> Profile {
        let unwrap_text = |option: &Option<String>| option.clone().unwrap_or_default();
        Profile {
            real_name: unwrap_text(&self.real_name),
            gender: self.gender,
            nickname: unwrap_text(&self.nickname),
            avatar_url: unwrap_text(&self.avatar_url),
            enterprise: unwrap_text(&self.enterprise),
            group: unwrap_text(&self.group),
            organization: unwrap_text(&self.organization),
            department: unwrap_text(&self.department),
            description: unwrap_text(&self.description),
            org_id: unwrap_text(&self.org_id),
            memo: unwrap_text(&self.memo),
        }
    }
}

/// Register MeFP apps.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Register an app and print two secrets: the one that all MeFP apps share, and the app's own, which is not shown
    /// again
    Add {
        /// Name that the app sends as app_from
        name: String,
        /// The app's secret: 16 printable ASCII characters [default: random]
        ///
        /// Every user of this machine can read this option in the process list; prefer --secret-stdin
        #[arg(long, value_name = "S16")]
        secret: Option<AppSecret>,
        /// Read the app's secret from the first line of standard input
        #[arg(long, conflicts_with = "secret")]
        secret_stdin: bool,
        /// Apps that this app may hand its users over to, separated by commas; they need not be registered yet
        #[arg(long, value_name = "APP,…", value_delimiter = ',')]
        may_token: Vec<String>,
    },
}

/// An app's secret from the command line. `Debug` hides it.
#[derive(Clone)]
pub struct AppSecret(pub Zeroizing<String>);

impl std::str::FromStr for AppSecret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl std::fmt::Debug for AppSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppSecret(…)")
    }
}

/// Issue TMS client tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create a client token and print it; it is not shown again
    Add {
        /// Unique name of the client token, such as the name of the client that uses it
        name: String,
    },
}

impl Args {
    /// The settings. The command line takes precedence over the environment, the environment over the TOML file.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let mut settings = Settings::load(self.config.as_deref(), &services::settings())?;
        if let Some(data) = &self.data {
            settings = settings.with_values([(DATA.name(), data.clone())]);
        }
        if let Command::Up { listen, demo, .. } = &self.command {
            if let Some(listen) = listen {
                settings = settings.with_values([(LISTEN.name(), listen.clone())]);
            }
            if *demo {
                settings = settings.with_values([(services::DEMO.name(), "true".to_owned())]);
            }
        }
        Ok(settings)
    }
}

/// Parses the command line of this process.
///
/// # Errors
/// If there is no command to run: the exit code, after the help text or the error has been printed.
pub fn parse_command_line() -> Result<Args, ExitCode> {
    let settings_help = config::settings_help(&services::settings());
    let listen_help =
        format!("Address that the gateway listens on (STELE_LISTEN) [default: {}]", gateway::DEFAULT_LISTEN);
    let command = Args::command()
        .mut_subcommand("up", |up| up.after_help(settings_help).mut_arg("listen", |option| option.help(listen_help)));
    let matches = cli::parse_command_line(command)?;
    Args::from_arg_matches(&matches).map_err(|error| {
        cli::print_error(&error.to_string());
        ExitCode::from(cli::EXIT_USAGE_ERROR)
    })
}

fn parse_username(text: &str) -> Result<Username, &'static str> {
    Username::parse(text).ok_or("a user name has 1 to 64 visible characters and no @; choose another")
}

fn parse_printable_text(text: &str) -> Result<String, String> {
    match find_invisible_in_text(text) {
        None => Ok(text.to_owned()),
        Some(hidden) => {
            let code_point = u32::from(hidden);
            Err(format!(
                "the text contains a control or invisible character, U+{code_point:04X}; remove that character"
            ))
        }
    }
}

fn parse_phone(text: &str) -> Result<Phone, &'static str> {
    Phone::parse_provisioned(text).ok_or("a phone has 5 to 15 digits, or is E.164 with +; write it without spaces")
}

fn parse_email(text: &str) -> Result<Email, &'static str> {
    Email::parse_provisioned(text).ok_or("this is not an e-mail address; write it as name@example.com")
}

fn parse_role(text: &str) -> Result<Role, &'static str> {
    Role::parse(text).ok_or("a role is admin or user")
}

fn parse_gender(text: &str) -> Result<Gender, &'static str> {
    Gender::parse(text).ok_or("write 男 or 女")
}

fn parse_algorithm(text: &str) -> Result<SigningAlgorithm, &'static str> {
    SigningAlgorithm::parse(text).ok_or("write RS256, EdDSA or ES256")
}

fn parse_enterprise_id(text: &str) -> Result<String, &'static str> {
    stele_core::user::UserId::parse(text)
        .map(|id| id.to_string())
        .ok_or("an enterprise is a UUID: 32 hex digits with hyphens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_app_secret() {
        let args = Args::try_parse_from(["stele", "app", "add", "melink", "--secret", "0123456789abcdef"]).unwrap();
        let text = format!("{args:?}");
        assert!(text.contains("melink") && !text.contains("0123456789"), "{text}");
    }
}
