//! Options of `stele import` and `stele export`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use stele_core::import::{RunId, SourceName};

/// `docs/MIGRATE.md` has each of these commands.
const EXAMPLES: &str = "\
Examples:
  stele import map --guess mysql://root@127.0.0.1:3307/cloudbox --table cloudbox_user > cloudbox.toml
  stele import check --source cloudbox --map cloudbox.toml --prove zhangsan mysql://root@127.0.0.1:3307/cloudbox
  stele import run --source cloudbox --map cloudbox.toml mysql://root@127.0.0.1:3307/cloudbox
  stele import status --source cloudbox
  stele import report --source portal
  stele import undo --source cloudbox

A URL on the command line, with its password, can be read by every user of the machine; `@FILE` in place of the URL
keeps it in a file.

The last line on standard output is `added N same N merged N refused N`. Exit code 0: every row has one of the first
three outcomes; 3: some were refused; 1: the import could not go on (run the same command again to resume); 2: the
command, the map or the source is at fault, and nothing was imported. Ctrl-C and SIGTERM stop between two batches.";

/// Import existing users from a file or a database.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum ImportCommand {
    /// Read every row and print what `run` would do with it; writes nothing
    ///
    /// Exit code 0: every row would be added, is known or would join a user; 3: some rows would be refused
    Check {
        /// What to read
        #[command(flatten)]
        from: ImportOptions,
        /// Print one JSON object per row
        #[arg(long)]
        json: bool,
    },
    /// Import the rows. An interrupted run is continued by the same command; a repeated one changes nothing
    ///
    /// Exit code 0: every row was added, is known or has joined a user; 3: some rows were refused; 1: interrupted
    Run {
        /// What to read
        #[command(flatten)]
        from: ImportOptions,
        /// Import nothing if a row would be refused
        #[arg(long)]
        all_or_nothing: bool,
    },
    /// Show the last run of a source, its common passwords, and how many imported hashes wait for argon2id
    Status(SourceOptions),
    /// Print the outcome of each row of the last run of a source, and how many of its passwords are common
    Report {
        /// The source
        #[command(flatten)]
        source: SourceOptions,
        /// Print one JSON object per row
        #[arg(long)]
        json: bool,
    },
    /// Remove the users that a run of a source added and who have not changed since, and list the others
    ///
    /// Without --run, this is the latest run that added users or joined rows to users
    Undo {
        /// The source
        #[command(flatten)]
        source: SourceOptions,
        /// Take this run back, also again: then users who stayed because another source had joined them, and has been
        /// taken back since, are removed
        #[arg(long, value_name = "N")]
        run: Option<RunId>,
    },
    /// Propose a map
    Map {
        /// Propose a map from the columns and the first rows of this file, or of a table of this database
        #[arg(long, value_name = "FROM")]
        guess: String,
        /// The table of the users, if FROM is a database or an SQLite file
        #[arg(long, value_name = "TABLE")]
        table: Option<String>,
    },
}

/// The source, the map, and the file or database.
#[derive(Debug, ClapArgs)]
pub struct ImportOptions {
    /// The source
    #[command(flatten)]
    pub source: SourceOptions,
    /// TOML file that says which column is which field
    #[arg(long, value_name = "FILE")]
    pub map: PathBuf,
    /// First verify the password of this user, from the first line of standard input, against the row: shows that the map
    /// names the right kind of hash. NAME is a name, phone or e-mail address
    #[arg(long, value_name = "NAME")]
    pub prove: Option<String>,
    /// A CSV, JSON Lines or SQLite file, or a URL: mysql://… or postgres://…; @FILE reads it from a file's first line
    pub from: String,
}

/// The name of a source.
#[derive(Debug, ClapArgs)]
pub struct SourceOptions {
    /// Name of the source: rows are identified by this name and their old id
    #[arg(long, value_name = "NAME", value_parser = parse_source)]
    pub source: SourceName,
}

/// Options of `stele export`.
#[derive(Debug, ClapArgs)]
pub struct ExportOptions {
    /// The source
    #[command(flatten)]
    pub source: SourceOptions,
    /// The map of the import, whose columns are written
    #[arg(long, value_name = "FILE")]
    pub map: PathBuf,
    /// Format of the output
    #[arg(long, value_enum, default_value = "csv")]
    pub format: ExportFormat,
    /// Write CSV for programs: fields that a spreadsheet would compute (=, +, -, @) get no leading '. JSON Lines never
    /// have one
    #[arg(long)]
    pub exact: bool,
    /// Write only users whose password was set in Stele: not those that still have the imported one, or one that an old
    /// server has confirmed. Disabling or enabling a user counts as setting it
    #[arg(long)]
    pub changed: bool,
    /// Also write md5(password), where it is sealed; it is as good as the password. Needs the sealing keys, and
    /// `yes` on the first line of standard input
    #[arg(long)]
    pub with_digests: bool,
}

/// Format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// CSV with a header line
    Csv,
    /// One JSON object per line
    Jsonl,
}

fn parse_source(text: &str) -> Result<SourceName, &'static str> {
    SourceName::parse(text).ok_or("a source has 1 to 32 characters of a-z, 0-9, - and _")
}
