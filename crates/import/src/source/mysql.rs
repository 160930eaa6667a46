//! MySQL and MariaDB: an unbuffered result in a read-only transaction. The text protocol gives every value as text.

use futures_util::TryStreamExt as _;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Row, SslOpts, Value};
use rustls::RootCertStore;
use tokio::sync::mpsc;

use super::row_receiver::{ROWS_AHEAD, ReadRow, RowReceiver};
use super::tls::{TlsUse, default_tls_use};
use super::{SourceError, locate_columns, redact_url};
use crate::map::ImportMap;
use crate::record::Cell;

pub(super) async fn open(url: &str, map: &ImportMap) -> Result<RowReceiver, SourceError> {
    if !url.starts_with("mysql://") {
        return Err(SourceError::Location("a MySQL source is named as mysql://USER:PASSWORD@HOST/NAME".to_owned()));
    }
    let database = redact_url(url);
    let connected = connect(url).await;
    let mut conn = connected.map_err(|cause| SourceError::Database { database: database.clone(), cause })?;
    let columns = column_names(&mut conn, &map.query).await.map_err(|e| database_error(&database, &e))?;
    let wanted = locate_columns(map, &columns)?;
    let (row_tx, row_rx) = mpsc::channel(ROWS_AHEAD);
    let query = map.query.clone();
    tokio::spawn(async move {
        if let Err(error) = send_rows(conn, &query, &wanted, &row_tx).await {
            // Fails if the import has stopped.
            let _ = row_tx.send(Err(database_error(&database, &error))).await;
        }
    });
    Ok(RowReceiver::new(row_rx))
}

async fn connect(url: &str) -> Result<Conn, String> {
    let opts = Opts::from_url(url).map_err(|e| e.to_string())?;
    let tls_use = match url.split_once("require_ssl=").map(|(_, value)| value.starts_with("false")) {
        Some(true) => TlsUse::Disabled,
        Some(false) => TlsUse::Verified,
        None => default_tls_use(std::iter::once(opts.ip_or_hostname())),
    };
    let ssl_opts = match tls_use {
        TlsUse::Disabled => None,
        TlsUse::Verified => {
            // One certificate that cannot be parsed would fail the connection.
            let mut roots = rustls_native_certs::load_native_certs().certs;
            roots.retain(|root| RootCertStore::empty().add(root.clone()).is_ok());
            let roots = roots.iter().map(|root| root.to_vec().into()).collect();
            Some(SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots))
        }
    };
    let mut conn = Conn::new(OptsBuilder::from_opts(opts).ssl_opts(ssl_opts)).await.map_err(|e| e.to_string())?;
    // The rows are read for as long as the import takes: an idle server must not give up.
    let prepare = [
        "SET SESSION net_write_timeout = 31536000, SESSION net_read_timeout = 31536000",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ];
    for statement in prepare {
        conn.query_drop(statement).await.map_err(|e| e.to_string())?;
    }
    Ok(conn)
}

/// The names of the columns of a query of the database at `url`.
pub(super) async fn columns_of_query(url: &str, query: &str) -> Result<Vec<String>, SourceError> {
    let database = redact_url(url);
    let connected = connect(url).await;
    let mut conn = connected.map_err(|cause| SourceError::Database { database: database.clone(), cause })?;
    let columns = column_names(&mut conn, query).await.map_err(|e| database_error(&database, &e))?;
    // The server closes the connection as well if this fails.
    let _ = conn.disconnect().await;
    Ok(columns)
}

/// The names of the columns of the query, which is prepared but not run.
async fn column_names(conn: &mut Conn, query: &str) -> mysql_async::Result<Vec<String>> {
    let statement = conn.prep(query).await?;
    let names = statement.columns().iter().map(|column| column.name_str().into_owned()).collect();
    conn.close(statement).await?;
    Ok(names)
}

/// Sends all rows. Stops early if the receiver is gone.
async fn send_rows(
    mut conn: Conn,
    query: &str,
    wanted: &[usize],
    row_tx: &mpsc::Sender<ReadRow>,
) -> mysql_async::Result<()> {
    let mut rows = conn.query_stream::<Row, _>(query).await?;
    while let Some(row) = rows.try_next().await? {
        let cells = wanted.iter().map(|&n| cell_of(row.as_ref(n))).collect();
        if row_tx.send(Ok(cells)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn cell_of(value: Option<&Value>) -> Cell {
    match value {
        None | Some(Value::NULL) => Cell::Null,
        Some(Value::Bytes(bytes)) => Cell::from_utf8(bytes),
        // The text protocol has no others.
        Some(other) => Cell::text(other.as_sql(true)),
    }
}

fn database_error(database: &str, error: &mysql_async::Error) -> SourceError {
    SourceError::Database { database: database.to_owned(), cause: error.to_string() }
}
