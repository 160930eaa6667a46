//! What can be typed.

mod audit;
mod keys;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use stele_core::identifier::{Email, Phone, Username};
use stele_core::text::find_invisible_in_text;
use stele_core::user::{Gender, Profile, Role};
use stele_service::common_settings::LISTEN;
use stele_service::config::DATA;
use stele_service::{AnySetting as _, ConfigError, Settings, cli, config};
use zeroize::Zeroizing;

pub use self::audit::{AuditOptions, When};
pub use self::keys::{ChallengeCommand, KeysCommand};
use crate::services;

/// One user base behind five login dialects.
#[derive(Debug, Parser)]
#[command(name = "stele", version, about, max_term_width = 120)]
pub struct Args {
    /// The data folder: embedded store, keys, outbox (STELE_DATA)
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// A TOML file with settings
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in this process: the gateway and all five dialects, on an embedded store
    Up {
        /// Where the gateway serves (STELE_LISTEN)
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<String>,
        /// Make a user for each dialect and print a curl line for each
        #[arg(long)]
        demo: bool,
        /// Serve HTTPS with a certificate made at this start, for trying: no client trusts it by itself
        #[arg(long)]
        tls_self_signed: bool,
    },
    /// Administer users
    #[command(subcommand)]
    User(UserCommand),
    /// Register MeFP apps
    #[command(subcommand)]
    App(AppCommand),
    /// Give out TMS client tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Put keys in service and take them out of it
    #[command(subcommand)]
    Keys(KeysCommand),
    /// End salted logins (cloudbox's and TMS's), or allow them again
    #[command(subcommand)]
    Challenge(ChallengeCommand),
    /// Read the audit trail
    Audit(Box<AuditOptions>),
    /// Make missing keys, bring the database to the current schema, and wrap what earlier builds imported in argon2id
    Migrate,
    /// Explain the settings in force and try whether everything can be reached
    Check,
}

/// Administer users. USER is a name, phone, e-mail address, id or number.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user; prints the id
    Add(Box<AddUserOptions>),
    /// List users, oldest first
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one user, as JSON
    Show {
        /// Name, phone, e-mail address, id or number
        user: String,
    },
    /// Lock a user out and end their sessions
    Disable {
        /// Name, phone, e-mail address, id or number
        user: String,
    },
    /// Let a user in again
    Enable {
        /// Name, phone, e-mail address, id or number
        user: String,
    },
    /// Set a user's password and end their sessions
    Passwd {
        /// Name, phone, e-mail address, id or number
        user: String,
        /// Read the password from standard input (its first line)
        #[arg(long, required = true)]
        password_stdin: bool,
    },
}

/// A user to add.
#[derive(Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("secret").required(true).args(["password_stdin", "hash_stdin"])))]
pub struct AddUserOptions {
    /// The name to log in with
    #[arg(long, value_parser = parse_name)]
    pub username: Username,
    /// Phone: 5 to 15 digits, or E.164 with +
    #[arg(long, value_parser = parse_phone)]
    pub phone: Option<Phone>,
    /// E-mail address
    #[arg(long, value_parser = parse_email)]
    pub email: Option<Email>,
    /// admin or user
    #[arg(long, default_value = "user", value_parser = parse_role)]
    pub role: Role,
    /// Real name
    #[arg(long, value_parser = parse_printable_text)]
    pub real_name: Option<String>,
    /// 男 or 女
    #[arg(long, value_parser = parse_gender)]
    pub gender: Option<Gender>,
    /// Enterprise, a UUID (cloudbox)
    #[arg(long, value_parser = parse_uuid)]
    pub enterprise: Option<String>,
    /// Group (cloudbox)
    #[arg(long, value_parser = parse_printable_text)]
    pub group: Option<String>,
    /// Nickname (cloudbox, TMS)
    #[arg(long, value_parser = parse_printable_text)]
    pub nickname: Option<String>,
    /// URL of a picture
    #[arg(long, value_parser = parse_printable_text)]
    pub avatar_url: Option<String>,
    /// Organisation's name (JWT)
    #[arg(long, value_parser = parse_printable_text)]
    pub organization: Option<String>,
    /// Department's name (JWT)
    #[arg(long, value_parser = parse_printable_text)]
    pub department: Option<String>,
    /// Description (JWT)
    #[arg(long, value_parser = parse_printable_text)]
    pub description: Option<String>,
    /// Organisation's id (portal); makes the user an 组织用户
    #[arg(long, value_parser = parse_printable_text)]
    pub org_id: Option<String>,
    /// Memo (portal)
    #[arg(long, value_parser = parse_printable_text)]
    pub memo: Option<String>,
    /// Read the password from standard input (its first line)
    #[arg(long, action = ArgAction::SetTrue)]
    pub password_stdin: bool,
    /// Read a foreign hash from standard input: argon2 (PHC), bcrypt, $md5ps$SALT$HASH for md5(password + salt) or
    /// $md5sp$SALT$HASH for md5(salt + password) (in hex), or 32 hex digits for md5(password). What is cheaper to guess
    /// from than argon2id is wrapped in argon2id; a plain md5 opens salted logins at once
    #[arg(long, action = ArgAction::SetTrue)]
    pub hash_stdin: bool,
}

impl AddUserOptions {
    /// What the options say about the person.
    pub fn profile(&self) -> Profile {
        let text = |option: &Option<String>| option.clone().unwrap_or_default();
        Profile {
            real_name: text(&self.real_name),
            gender: self.gender,
            nickname: text(&self.nickname),
            avatar_url: text(&self.avatar_url),
            enterprise: text(&self.enterprise),
            group: text(&self.group),
            organization: text(&self.organization),
            department: text(&self.department),
            description: text(&self.description),
            org_id: text(&self.org_id),
            memo: text(&self.memo),
        }
    }
}

/// Register MeFP apps.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Register an app; prints MeFP's shared secret and the app's own, this once
    Add {
        /// The name that the app sends as app_from
        name: String,
        /// The app's secret: 16 printable ASCII characters [default: random]
        ///
        /// Everybody on this machine can read it there; --secret-stdin is better
        #[arg(long, value_name = "S16")]
        secret: Option<AppSecret>,
        /// Read the app's secret from standard input (its first line)
        #[arg(long, conflicts_with = "secret")]
        secret_stdin: bool,
        /// The apps it may hand its users over to, separated by commas; they may be added later
        #[arg(long, value_name = "APP,…", value_delimiter = ',')]
        may_token: Vec<String>,
    },
}

/// An app's secret as it was typed. Never printed.
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

/// Give out TMS client tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a client token; prints it, this once
    Add {
        /// What it is for
        name: String,
    },
}

impl Args {
    /// The settings as the command line, the environment and the TOML file give them.
    ///
    /// # Errors
    /// What [`Settings::load`] says.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let mut settings = Settings::load(self.config.as_deref(), &services::settings())?;
        if let Some(data) = &self.data {
            settings = settings.with_values([(DATA.name(), data.clone())]);
        }
        if let Command::Up { listen: Some(listen), .. } = &self.command {
            settings = settings.with_values([(LISTEN.name(), listen.clone())]);
        }
        Ok(settings)
    }
}

/// Reads the command line.
///
/// # Errors
/// The code to exit with: help was printed, or what is wrong.
pub fn parse_command_line() -> Result<Args, ExitCode> {
    let settings = config::settings_help(&services::settings());
    let listen = format!("Where the gateway serves (STELE_LISTEN) [default: {}]", gateway::DEFAULT_LISTEN);
    let command = Args::command()
        .mut_subcommand("up", |up| up.after_help(settings).mut_arg("listen", |argument| argument.help(listen)));
    let matches = cli::parse_command_line(command)?;
    Args::from_arg_matches(&matches).map_err(|error| {
        cli::print_error(&error.to_string());
        ExitCode::from(cli::EXIT_USAGE_ERROR)
    })
}

fn parse_name(text: &str) -> Result<Username, &'static str> {
    Username::parse(text).ok_or("a name has 1 to 64 characters, all of them visible, and no @")
}

fn parse_printable_text(text: &str) -> Result<String, String> {
    match find_invisible_in_text(text) {
        None => Ok(text.to_owned()),
        Some(hidden) => Err(format!("a control or invisible character is in it: U+{:04X}", u32::from(hidden))),
    }
}

fn parse_phone(text: &str) -> Result<Phone, &'static str> {
    Phone::parse_provisioned(text).ok_or("a phone has 5 to 15 digits, or is E.164 with +")
}

fn parse_email(text: &str) -> Result<Email, &'static str> {
    Email::parse_provisioned(text).ok_or("this is no e-mail address")
}

fn parse_role(text: &str) -> Result<Role, &'static str> {
    Role::parse(text).ok_or("a role is admin or user")
}

fn parse_gender(text: &str) -> Result<Gender, &'static str> {
    Gender::parse(text).ok_or("write 男 or 女")
}

fn parse_uuid(text: &str) -> Result<String, &'static str> {
    stele_core::user::UserId::parse(text).map(|id| id.to_string()).ok_or("an enterprise is a UUID")
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
