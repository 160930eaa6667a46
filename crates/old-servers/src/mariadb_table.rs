//! A table in MariaDB.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, Value};

use crate::password::{PasswordFormat, StoredPassword};
use crate::schema::TableSchema;
use crate::schema::column::Field;
use crate::user::{Lookup, OldUser, TableError, UserTable};

/// Users in MariaDB, read at each request.
#[derive(Debug)]
pub struct MariadbTable {
    opts: Opts,
    schema: TableSchema,
    /// Idle connections, by the thread whose runtime they belong to.
    idle: Mutex<HashMap<ThreadId, Vec<Conn>>>,
}

impl From<mysql_async::Error> for TableError {
    fn from(error: mysql_async::Error) -> Self {
        Self(error.to_string())
    }
}

impl MariadbTable {
    /// The table of this schema in the database at `url`, such as `mysql://root@127.0.0.1:3306/cloudbox`. Does not
    /// connect.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn new(url: &str, schema: TableSchema) -> Result<Self, TableError> {
        let opts = Opts::from_url(url).map_err(|e| TableError(e.to_string()))?;
        // An update with the value that a row has counts as a row.
        let opts = OptsBuilder::from_opts(opts).client_found_rows(true).into();
        Ok(Self { opts, schema, idle: Mutex::default() })
    }

    /// Creates the table.
    ///
    /// # Errors
    /// The database cannot be reached, or has the table.
    pub async fn create(&self) -> Result<(), TableError> {
        let mut conn = self.connect().await?;
        conn.query_drop(self.schema.create).await?;
        self.put_back(conn);
        Ok(())
    }

    /// As [`MariadbTable::create`], unless the database has a table of this name.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn create_if_missing(&self) -> Result<(), TableError> {
        let mut conn = self.connect().await?;
        conn.query_drop(self.schema.create.replacen("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)).await?;
        self.put_back(conn);
        Ok(())
    }

    /// Adds users in statements of up to 500 rows.
    ///
    /// # Errors
    /// The database cannot be reached or refuses a row; the rows of earlier statements stay.
    pub async fn add_all(&self, users: &[OldUser]) -> Result<(), TableError> {
        let mut conn = self.connect().await?;
        for users in users.chunks(500) {
            let row = format!("({})", vec!["?"; self.schema.columns.len()].join(","));
            let statement = format!("{} {}", self.insert(), vec![row; users.len()].join(","));
            let values = users.iter().flat_map(|user| self.values(user)).collect();
            conn.exec_drop(statement, Params::Positional(values)).await?;
        }
        self.put_back(conn);
        Ok(())
    }

    async fn connect(&self) -> Result<Conn, TableError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&this_thread()).and_then(Vec::pop);
        match idle {
            Some(conn) => Ok(conn),
            None => Ok(Conn::new(self.opts.clone()).await?),
        }
    }

    /// Keeps a connection whose last statement succeeded.
    fn put_back(&self, conn: Conn) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).entry(this_thread()).or_default().push(conn);
    }

    /// The start of a statement up to its rows.
    fn insert(&self) -> String {
        let columns: Vec<_> = self.schema.columns.iter().map(|(name, _)| format!("`{name}`")).collect();
        format!("INSERT INTO `{}` ({}) VALUES", self.schema.table, columns.join(","))
    }

    fn values(&self, user: &OldUser) -> Vec<Value> {
        self.schema.columns.iter().map(|(_, field)| field.write(user).into()).collect()
    }

    /// The columns that a lookup compares.
    fn columns_of(&self, lookup: Lookup<'_>) -> Vec<&'static str> {
        let fields: &[Field] = match lookup {
            Lookup::Id(_) => &[Field::Id],
            Lookup::Name(_) => &[Field::Name],
            Lookup::Phone(_) => &[Field::Phone],
            Lookup::Contact(_) => &[Field::Phone, Field::Email],
            Lookup::Login(_) => &[Field::Name, Field::Phone, Field::Email],
        };
        fields.iter().filter_map(|&field| self.schema.column(field)).collect()
    }

    fn user_of(&self, row: Row) -> Result<OldUser, TableError> {
        let password = StoredPassword { format: self.schema.format, value: String::new(), salt: String::new() };
        let mut user = OldUser::new("", "", password);
        for ((name, field), value) in self.schema.columns.iter().zip(row.unwrap()) {
            let text: Option<String> =
                mysql_async::from_value_opt(value).map_err(|e| TableError(format!("column {name}: {e}")))?;
            field.read(&mut user, text.unwrap_or_default());
        }
        Ok(user)
    }
}

fn this_thread() -> ThreadId {
    std::thread::current().id()
}

#[async_trait]
impl UserTable for MariadbTable {
    fn password_format(&self) -> PasswordFormat {
        self.schema.format
    }

    async fn find(&self, lookup: Lookup<'_>) -> Result<Option<OldUser>, TableError> {
        let conditions: Vec<_> = self.columns_of(lookup).iter().map(|name| format!("`{name}` = ?")).collect();
        if conditions.is_empty() || lookup.value().is_empty() {
            return Ok(None);
        }
        let columns: Vec<_> = self
            .schema
            .columns
            .iter()
            .map(|(name, _)| format!("CAST(`{name}` AS CHAR CHARACTER SET utf8mb4)"))
            .collect();
        let (columns, conditions_text) = (columns.join(","), conditions.join(" OR "));
        let statement = format!("SELECT {columns} FROM `{}` WHERE {conditions_text} LIMIT 1", self.schema.table);
        let values = vec![Value::from(lookup.value()); conditions.len()];
        let mut conn = self.connect().await?;
        let row: Option<Row> = conn.exec_first(statement, Params::Positional(values)).await?;
        self.put_back(conn);
        let user = row.map(|row| self.user_of(row)).transpose()?;
        // MariaDB compares a number with the start of a text.
        Ok(user.filter(|user| !matches!(lookup, Lookup::Id(id) if !user.id.eq_ignore_ascii_case(id))))
    }

    async fn set_password(&self, id: &str, password: &StoredPassword) -> Result<(), TableError> {
        if password.format != self.schema.format {
            return Err(TableError(format!("the table keeps {:?}, not {:?}", self.schema.format, password.format)));
        }
        let texts = [(Field::Password, &password.value), (Field::Salt, &password.salt)];
        let texts: Vec<_> =
            texts.into_iter().filter_map(|(field, text)| Some((self.schema.column(field)?, text))).collect();
        let assignments: Vec<_> = texts.iter().map(|(name, _)| format!("`{name}` = ?")).collect();
        let id_column = self.schema.column(Field::Id).expect("every table has an id");
        let statement =
            format!("UPDATE `{}` SET {} WHERE `{id_column}` = ?", self.schema.table, assignments.join(", "));
        let values = texts.iter().map(|(_, text)| Value::from(text.as_str())).chain([Value::from(id)]).collect();
        let mut conn = self.connect().await?;
        conn.exec_drop(statement, Params::Positional(values)).await?;
        let count = conn.affected_rows();
        self.put_back(conn);
        if count == 0 { Err(TableError(format!("there is no user {id}"))) } else { Ok(()) }
    }

    async fn add(&self, user: &OldUser) -> Result<String, TableError> {
        let row = vec!["?"; self.schema.columns.len()].join(",");
        let mut conn = self.connect().await?;
        conn.exec_drop(format!("{} ({row})", self.insert()), Params::Positional(self.values(user))).await?;
        let id = conn.last_insert_id();
        self.put_back(conn);
        if user.id.is_empty() { Ok(id.unwrap_or(0).to_string()) } else { Ok(user.id.clone()) }
    }
}
