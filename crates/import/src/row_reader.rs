//! Turns records into rows: every field by the parser of the domain, or the reason why the row is refused.

use std::collections::HashMap;

use stele_core::hex;
use stele_core::identifier::{Email, Phone, Username};
use stele_core::import::{Field, ImportRow, MAX_USER_NUMBER, OldId, Refusal, SourceRow};
use stele_core::text::find_invisible_in_text;
use stele_core::time::Timestamp;
use stele_core::user::{Gender, Profile, Role, UserId, UserStatus};

use crate::map::{Columns, ImportMap, MapError, TextColumn};
use crate::record::{Cell, Record};
use crate::secret::read_secret;

/// The longest text of a profile, in bytes.
const MAX_TEXT_BYTES: usize = 4_096;

/// Reads the rows of a source by a map.
pub struct RowReader {
    map: ImportMap,
    /// Which cell of a record has which column.
    cells: HashMap<String, usize>,
}

impl RowReader {
    /// A reader for records that have the [`ImportMap::wanted_columns`].
    ///
    /// # Errors
    /// [`MapError`] if the map has a value that no user can have.
    pub fn new(map: &ImportMap) -> Result<Self, MapError> {
        let cells = map.wanted_columns().into_iter().enumerate().map(|(n, column)| (column.to_owned(), n)).collect();
        let reader = Self { map: map.clone(), cells };
        // A row without cells has the map's own values.
        let row = Row { reader: &reader, cells: &[] };
        row.read_profile().map_err(|refusal| MapError(format!("[columns] {refusal}")))?;
        Ok(reader)
    }

    /// Reads a record.
    pub fn read(&self, record: Record) -> SourceRow {
        let Record { position, line, cells } = record;
        let (old_id, row) = match &cells {
            Ok(cells) => {
                let row = Row { reader: self, cells };
                (row.reported_id(), row.read())
            }
            Err(refusal) => (String::new(), Err(*refusal)),
        };
        let old_id = row.as_ref().map_or(old_id, |row| row.old_id.as_str().to_owned());
        SourceRow { position, line, old_id, row }
    }
}

/// The identifiers of a row, of which it has at least one.
struct Identifiers {
    name: Option<Username>,
    phone: Option<Phone>,
    email: Option<Email>,
}

/// The cells of one record.
struct Row<'a> {
    reader: &'a RowReader,
    cells: &'a [Cell],
}

impl<'a> Row<'a> {
    fn columns(&self) -> &'a Columns {
        &self.reader.map.columns
    }

    fn read(&self) -> Result<ImportRow, Refusal> {
        let identifiers = self.read_identifiers()?;
        let secret = &self.reader.map.secret;
        let secret_cell = |column: &Option<String>| column.as_deref().map_or(&Cell::Null, |column| self.cell(column));
        Ok(ImportRow {
            old_id: self.read_old_id(&identifiers)?,
            id: self.read_uuid()?,
            alias_id: self.read_alias_id()?,
            number: self.read_number()?,
            name: identifiers.name,
            phone: identifiers.phone,
            email: identifiers.email,
            role: self.read_role()?,
            status: self.read_status()?,
            registered_at: self.read_registered_at()?,
            profile: self.read_profile()?,
            secret: read_secret(secret, secret_cell(&secret.column), secret_cell(&secret.salt))?,
        })
    }

    fn cell(&self, column: &str) -> &'a Cell {
        self.reader.cells.get(column).and_then(|&n| self.cells.get(n)).unwrap_or(&Cell::Null)
    }

    /// The text of a column without the white space around it; `None` if there is none, or if it is what MySQL writes
    /// for NULL.
    fn text(&self, column: Option<&str>, field: Field) -> Result<Option<&'a str>, Refusal> {
        let Some(column) = column else { return Ok(None) };
        match self.cell(column) {
            Cell::Null => Ok(None),
            Cell::NotText => Err(Refusal::NotText(field)),
            Cell::Text(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty() && *text != "\\N")),
        }
    }

    /// The old id for the report, even if the row is refused.
    fn reported_id(&self) -> String {
        let text = self.text(self.columns().id.as_deref(), Field::Id).ok().flatten().unwrap_or_default();
        text.chars().take(128).collect()
    }

    fn read_old_id(&self, identifiers: &Identifiers) -> Result<OldId, Refusal> {
        if let Some(column) = &self.columns().id {
            let text = self.text(Some(column), Field::Id)?.ok_or(Refusal::NoOldId)?;
            return OldId::parse(text).ok_or(Refusal::Malformed(Field::Id));
        }
        let Identifiers { name, phone, email } = identifiers;
        let identifier = name.as_ref().map(Username::identifier).or(phone.as_ref().map(Phone::identifier));
        let identifier = identifier.or(email.as_ref().map(Email::identifier)).ok_or(Refusal::NoIdentifier)?;
        Ok(OldId::from_identifier(identifier))
    }

    fn read_identifiers(&self) -> Result<Identifiers, Refusal> {
        let Columns { username, phone, email, .. } = self.columns();
        let phone = self.text(phone.as_deref(), Field::Phone)?.map(without_zero_fraction);
        let phone = parse(phone, Field::Phone, Phone::parse_provisioned)?;
        let mut email = parse(self.text(email.as_deref(), Field::Email)?, Field::Email, Email::parse_provisioned)?;
        let mut username = self.text(username.as_deref(), Field::Username)?;
        // Many systems take an e-mail address as the user name.
        if let Some(address) = username.filter(|name| name.contains('@')).and_then(Email::parse_provisioned)
            && email.as_ref().is_none_or(|email| email.key() == address.key())
        {
            email = Some(address);
            username = None;
        }
        let name = parse(username, Field::Username, Username::parse)?;
        if name.is_none() && phone.is_none() && email.is_none() {
            return Err(Refusal::NoIdentifier);
        }
        Ok(Identifiers { name, phone, email })
    }

    fn read_uuid(&self) -> Result<Option<UserId>, Refusal> {
        // UUIDs that start with 8 zero bytes are those of the decoy row, and of ids that no user has.
        let parse_id = |text: &str| UserId::parse(text).filter(|id| id.as_bytes()[..8] != [0; 8]);
        parse(self.text(self.columns().uuid.as_deref(), Field::Uuid)?, Field::Uuid, parse_id)
    }

    fn read_number(&self) -> Result<Option<i64>, Refusal> {
        let text = self.text(self.columns().number.as_deref(), Field::Number)?.map(without_zero_fraction);
        parse(text, Field::Number, |text| {
            let is_number = text.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| text.parse().ok())?.filter(|number| (1..=MAX_USER_NUMBER).contains(number))
        })
    }

    fn read_alias_id(&self) -> Result<Option<String>, Refusal> {
        let parse_alias = |text: &str| UserId::parse(text).map(|id| hex::encode(id.as_bytes()));
        parse(self.text(self.columns().alias_id.as_deref(), Field::AliasId)?, Field::AliasId, parse_alias)
    }

    fn read_role(&self) -> Result<Role, Refusal> {
        let Some(spec) = &self.columns().role else { return Ok(Role::User) };
        let text = self.text(spec.column.as_deref(), Field::Role)?;
        let is_admin = text.is_some_and(|text| spec.admin.iter().any(|value| value == text));
        Ok(if is_admin { Role::Admin } else { spec.value })
    }

    fn read_status(&self) -> Result<UserStatus, Refusal> {
        let Some(spec) = &self.columns().disabled else { return Ok(UserStatus::Active) };
        let text = self.text(Some(&spec.column), Field::Disabled)?.unwrap_or_default();
        let is_disabled = spec.when.iter().any(|value| value == text);
        Ok(if is_disabled { UserStatus::Disabled } else { UserStatus::Active })
    }

    fn read_registered_at(&self) -> Result<Option<Timestamp>, Refusal> {
        let Some(spec) = &self.columns().registered_at else { return Ok(None) };
        let text = self.text(Some(&spec.column), Field::RegisteredAt)?;
        // MySQL's zero date means that there is none, and so does a zero in a column of Unix times.
        let text = text.filter(|text| !text.starts_with("0000-00-00") && *text != "0");
        parse(text, Field::RegisteredAt, |text| spec.format.read(text))
    }

    fn read_gender(&self) -> Result<Option<Gender>, Refusal> {
        let Some(spec) = &self.columns().gender else { return Ok(None) };
        let is_one_of = |values: &[String], text: &str| values.iter().any(|value| value.eq_ignore_ascii_case(text));
        Ok(match self.text(Some(&spec.column), Field::Gender)? {
            Some(text) if is_one_of(&spec.male, text) => Some(Gender::Male),
            Some(text) if is_one_of(&spec.female, text) => Some(Gender::Female),
            // Systems write many values for an unknown gender.
            _ => None,
        })
    }

    fn read_profile(&self) -> Result<Profile, Refusal> {
        let columns = self.columns();
        Ok(Profile {
            real_name: self.read_text(columns.real_name.as_ref(), Field::RealName)?,
            gender: self.read_gender()?,
            nickname: self.read_text(columns.nickname.as_ref(), Field::Nickname)?,
            avatar_url: self.read_text(columns.avatar_url.as_ref(), Field::AvatarUrl)?,
            enterprise: self.read_enterprise()?,
            group: self.read_text(columns.group.as_ref(), Field::Group)?,
            organization: self.read_text(columns.organization.as_ref(), Field::Organization)?,
            department: self.read_text(columns.department.as_ref(), Field::Department)?,
            description: self.read_text(columns.description.as_ref(), Field::Description)?,
            org_id: self.read_text(columns.org_id.as_ref(), Field::OrgId)?,
            memo: self.read_text(columns.memo.as_ref(), Field::Memo)?,
        })
    }

    fn read_enterprise(&self) -> Result<String, Refusal> {
        let text = self.read_text(self.columns().enterprise.as_ref(), Field::Enterprise)?;
        if text.is_empty() {
            return Ok(text);
        }
        UserId::parse(&text).map(|id| id.to_string()).ok_or(Refusal::Malformed(Field::Enterprise))
    }

    /// A text of the profile. Line breaks and tabs become spaces.
    fn read_text(&self, column: Option<&TextColumn>, field: Field) -> Result<String, Refusal> {
        let text = match column {
            None => None,
            Some(TextColumn::Value(value)) => Some(value.as_str()),
            Some(TextColumn::Column(column)) => self.text(Some(column), field)?,
        };
        let Some(text) = text else { return Ok(String::new()) };
        if text.len() > MAX_TEXT_BYTES {
            return Err(Refusal::TooLong(field));
        }
        let text: String =
            text.replace("\r\n", " ").chars().map(|c| if "\r\n\t".contains(c) { ' ' } else { c }).collect();
        match find_invisible_in_text(&text) {
            Some(_) => Err(Refusal::InvisibleCharacter(field)),
            None => Ok(text),
        }
    }
}

/// Parses a value, if there is one.
fn parse<T>(text: Option<&str>, field: Field, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
    text.map(|text| parse(text).ok_or(Refusal::Malformed(field))).transpose()
}

/// A number that went through a floating-point column, such as `13800138000.0`, without its fraction.
fn without_zero_fraction(text: &str) -> &str {
    let whole = text.strip_suffix(".0").unwrap_or(text);
    if whole.bytes().all(|b| b.is_ascii_digit()) { whole } else { text }
}

#[cfg(test)]
#[path = "row_reader_tests.rs"]
mod tests;
