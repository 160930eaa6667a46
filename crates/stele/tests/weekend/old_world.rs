//! The old world: MariaDB with five tables, and the five old login servers on them.

use std::sync::Arc;

use stele_old_servers::{Fault, MariadbTable, OldCloudbox, OldJwt, OldMefp, OldPortal, OldServer, OldTms, TableSchema};
use stele_testservers::Mariadb;

use crate::client::{DialectKind, MefpApp};
use crate::people::{Population, schemas};

/// MeFP's secrets, which Stele takes over.
pub(crate) const APP: &str = "melink";
pub(crate) const MEFP_SECRET: &str = "0123456789abcdefghijklmnopqrstuv";
pub(crate) const APP_SECRET: &str = "wxyz0123456789ab";

/// The database and the servers, in the order of [`DialectKind`].
pub(crate) struct OldWorld {
    pub(crate) database: Mariadb,
    servers: [OldServer; 5],
}

/// The name of a dialect's database and source.
pub(crate) fn source(dialect: DialectKind) -> &'static str {
    ["cloudbox", "tms", "portal", "mefp", "jwt"][dialect as usize]
}

pub(crate) fn mefp_app() -> MefpApp {
    MefpApp::new(APP, (MEFP_SECRET.to_owned(), APP_SECRET.to_owned()))
}

impl OldWorld {
    /// Creates the tables and starts the servers.
    pub(crate) async fn start(population: &Population) -> Self {
        let database = Mariadb::start();
        let mut tables = Vec::new();
        for (dialect, schema) in DialectKind::ALL.into_iter().zip(schemas()) {
            database.execute(&format!("CREATE DATABASE {}", source(dialect)));
            tables.push(create_table(&database, dialect, schema, population).await);
        }
        let [cloudbox, tms, portal, mefp, jwt] = <[Arc<MariadbTable>; 5]>::try_from(tables).unwrap();
        let servers = [
            OldCloudbox::default().serve(cloudbox),
            OldTms::default().serve(tms),
            OldPortal { code_after: Some(3) }.serve(portal),
            OldMefp::new(MEFP_SECRET, &[(APP, APP_SECRET)]).serve(mefp),
            OldJwt { captcha_after: Some(3), ..OldJwt::default() }.serve(jwt),
        ];
        Self { database, servers }
    }

    pub(crate) fn server(&self, dialect: DialectKind) -> &OldServer {
        &self.servers[dialect as usize]
    }

    /// The URL of a source, for `stele import`.
    pub(crate) fn database_url(&self, dialect: DialectKind) -> String {
        self.database.url(source(dialect))
    }

    /// Stops the servers: they refuse connections.
    pub(crate) fn stop(&self) {
        self.servers.iter().for_each(|server| server.set_fault(Fault::Gone));
    }
}

async fn create_table(
    database: &Mariadb,
    dialect: DialectKind,
    schema: TableSchema,
    population: &Population,
) -> Arc<MariadbTable> {
    let table = MariadbTable::new(&database.url(source(dialect)), schema).unwrap();
    table.create().await.unwrap();
    table.add_all(&population.tables[dialect as usize]).await.unwrap();
    Arc::new(table)
}
