//! Import of existing users: reads the rows of a source as the domain's [`ImportRow`]s.
//!
//! - [`ImportMap`]: the TOML file that says which column of the source is which field of a user
//! - [`Source`]: CSV, JSON Lines, an SQLite file, MySQL or PostgreSQL, read as a stream with flat memory
//! - [`RowReader`]: turns the records of a source into rows, or into the reasons why they are refused
//! - [`guess_map`]: proposes a map from the columns of a source and its first rows
//!
//! Nothing here writes, and nothing here knows Stele's database: the outcome of a row is decided by
//! [`stele_core::import`].
//!
//! [`ImportRow`]: stele_core::import::ImportRow

mod export;
mod formula;
mod guess;
mod map;
mod record;
mod row_reader;
mod secret;
mod source;

pub use export::{csv_line, export_user};
pub use formula::neutralize_formula;
pub use guess::guess_map;
pub use map::{Format, ImportMap, MapError, SecretKind};
pub use record::{Cell, Record};
pub use row_reader::RowReader;
pub use source::{SampledColumn, Source, SourceColumns, SourceError, columns_of, fingerprint, open_source};
