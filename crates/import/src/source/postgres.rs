//! PostgreSQL: a cursor in a read-only transaction, so that memory stays flat on both sides.

use async_trait::async_trait;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{TlsUse, client_config, default_tls_use};
use super::{Source, SourceError, locate_columns, redact_url};
use crate::map::ImportMap;
use crate::record::{Cell, Record};

pub(super) struct PostgresSource {
    client: Client,
    database: String,
    wanted: Vec<usize>,
    /// Rows that were fetched with the names of the columns.
    first: Vec<Vec<Cell>>,
    position: u64,
}

/// How many rows are fetched to learn the names of the columns.
const FIRST_ROWS: usize = 500;

impl PostgresSource {
    pub(super) async fn open(url: &str, map: &ImportMap) -> Result<Self, SourceError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(SourceError::Location(
                "a PostgreSQL source is named as postgres://USER:PASSWORD@HOST/NAME".to_owned(),
            ));
        }
        let database = redact_url(url);
        let error = |e: &dyn std::error::Error| database_error(&database, e);
        let client = connect(url).await.map_err(|e| error(e.as_ref()))?;
        // The rows are read for as long as the import takes.
        let begin = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                     BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        client.batch_execute(begin).await.map_err(|e| error(&e))?;
        let declare = format!("DECLARE stele_import NO SCROLL CURSOR FOR {}", map.query);
        client.batch_execute(&declare).await.map_err(|e| error(&e))?;
        let mut source = Self { client, database, wanted: Vec::new(), first: Vec::new(), position: 0 };
        let messages = source.fetch(FIRST_ROWS).await?;
        let columns = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::RowDescription(columns) => {
                Some(columns.iter().map(|column| column.name().to_owned()).collect::<Vec<_>>())
            }
            _ => None,
        });
        source.wanted = locate_columns(map, &columns.unwrap_or_default())?;
        source.first = source.cells_of(&messages);
        Ok(source)
    }

    async fn fetch(&self, limit: usize) -> Result<Vec<SimpleQueryMessage>, SourceError> {
        let fetched = self.client.simple_query(&format!("FETCH {limit} FROM stele_import")).await;
        fetched.map_err(|e| database_error(&self.database, &e))
    }

    fn cells_of(&self, messages: &[SimpleQueryMessage]) -> Vec<Vec<Cell>> {
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| self.wanted.iter().map(|&n| row.get(n).map_or(Cell::Null, Cell::text)).collect()).collect()
    }
}

/// The names of the columns of a query of the database at `url`, which is prepared but not run.
pub(super) async fn columns_of_query(url: &str, query: &str) -> Result<Vec<String>, SourceError> {
    let database = redact_url(url);
    let client = connect(url).await.map_err(|e| database_error(&database, e.as_ref()))?;
    let statement = client.prepare(query).await.map_err(|e| database_error(&database, &e))?;
    Ok(statement.columns().iter().map(|column| column.name().to_owned()).collect())
}

async fn connect(url: &str) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let mut config: Config = url.replacen("sslmode=verify-full", "sslmode=require", 1).parse()?;
    let hosts = config.get_hosts().to_vec();
    let names = hosts.iter().map(|host| match host {
        Host::Tcp(name) => name.as_str(),
        Host::Unix(path) => path.to_str().unwrap_or("/"),
    });
    let tls_use = match config.get_ssl_mode() {
        SslMode::Disable => TlsUse::Disabled,
        SslMode::Require => TlsUse::Verified,
        _ => default_tls_use(names),
    };
    config.application_name("stele import");
    // The connection's task ends with the client.
    match tls_use {
        TlsUse::Disabled => {
            let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
            tokio::spawn(async move { drop(connection.await) });
            Ok(client)
        }
        TlsUse::Verified => {
            let tls = MakeRustlsConnect::new(client_config()?);
            let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls).await?;
            tokio::spawn(async move { drop(connection.await) });
            Ok(client)
        }
    }
}

fn database_error(database: &str, error: &dyn std::error::Error) -> SourceError {
    let mut cause = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        cause = format!("{cause}: {source}");
        next = source.source();
    }
    SourceError::Database { database: database.to_owned(), cause }
}

#[async_trait]
impl Source for PostgresSource {
    async fn next(&mut self, limit: usize) -> Result<Vec<Record>, SourceError> {
        let rows = if self.first.is_empty() {
            let messages = self.fetch(limit).await?;
            self.cells_of(&messages)
        } else {
            self.first.drain(..limit.min(self.first.len())).collect()
        };
        let mut records = Vec::with_capacity(rows.len());
        for cells in rows {
            self.position += 1;
            records.push(Record { position: self.position, line: None, cells: Ok(cells) });
        }
        Ok(records)
    }
}
