//! Options of `stele passwords` (lists of common passwords).

use std::path::PathBuf;

use clap::Subcommand;

/// Add common passwords to the list that new passwords are checked against, and check a password.
#[derive(Debug, Subcommand)]
pub enum PasswordsCommand {
    /// Add the passwords of a file to your own list, which every instance uses at once. The built-in one stays in effect
    ///
    /// The file has one password per line, in UTF-8. Use names and words of your organisation; the users' own passwords
    /// do not belong in it, since everybody can find out what is on the list by choosing it. The database stores the
    /// first 64 bits of each md5. A second run with the same file changes nothing
    Load {
        /// File with one password per line
        file: PathBuf,
    },
    /// Empty your own list. The built-in list stays in effect
    Clear,
    /// Check the password on the first line of standard input against both lists. Exit code 1 if it is listed
    Check,
}
