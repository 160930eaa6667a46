//! The statement by which a login finds its user, as a script for pgbench: the workload `select`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use stele_bench_kit::dialect::CLOUDBOX_LOGIN;
use stele_bench_kit::{BenchError, BlockingConnection, Result};

use crate::installation::TestStores;
use crate::user_population::{self, SaltedLogins};

/// Writes a script that repeats the statement of a cloudbox login for random users out of `users`. The statement and its
/// values are those that PostgreSQL received for one login at the service `cloudbox`.
///
/// # Errors
/// If the login fails, the server logs no such statement, or the file cannot be written.
pub(crate) fn write_script(stores: &TestStores, cloudbox: SocketAddr, users: u64) -> Result<PathBuf> {
    let mut logins = SaltedLogins::new(users);
    let log = stores.cluster.capture_statements(|| {
        let mut requests = logins.next_requests(1)?;
        let request = requests.take().ok_or_else(|| BenchError::new("there are no users"))?;
        let mut connection = BlockingConnection::connect(cloudbox, Duration::from_secs(10))?;
        let response = connection.request(&request)?.to_response();
        if response.status == 200 && response.text().contains(r#""code":"0000""#) {
            return Ok(());
        }
        Err(BenchError::new(format!("{CLOUDBOX_LOGIN} returns {}: {}", response.status, response.text())))
    })?;
    let (first, last) = (user_population::phone(0), user_population::phone(users - 1));
    let select = repeatable_select(&log, first..=last).ok_or_else(|| {
        BenchError::new(format!("no SELECT on identifiers with a phone number is in the log: {log:?}"))
    })?;
    let file = stores.run_folder_path().join("select.sql");
    std::fs::write(&file, format!("\\set phone random({first}, {last})\n{select};\n"))?;
    Ok(file)
}

/// The logged login statement with its values in place of `$1`, `$2` and so on, and pgbench's variable in place of the
/// phone number. The line after a statement lists its values, none of which contains a comma or a line break. `None` if no
/// statement reads identifiers by a phone number.
fn repeatable_select(log: &[String], phones: std::ops::RangeInclusive<u64>) -> Option<String> {
    let position = log.iter().position(|line| line.contains("SELECT") && line.contains("identifiers"))?;
    let statement = log.get(position)?;
    let mut select = statement.get(statement.find("SELECT")?..)?.to_owned();
    let values = log.get(position + 1).and_then(|line| line.get(line.find("$1 = ")?..)).unwrap_or_default();
    // From the last one: `$1` is the beginning of `$10`.
    for parameter in values.split(", $").collect::<Vec<_>>().into_iter().rev() {
        let (number, value) = parameter.trim_start_matches('$').split_once(" = ")?;
        let is_phone = value.trim_matches('\'').parse().is_ok_and(|phone| phones.contains(&phone));
        select = select.replace(&format!("${number}"), if is_phone { "(:phone)::text" } else { value });
    }
    select.contains(":phone").then_some(select)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_replace_parameters() {
        let log = [
            "execute s0: SELECT 1",
            "execute s1: SELECT a, (SELECT x FROM own WHERE source = $10) FROM identifiers WHERE key = $1 LIMIT $2",
            "parameters: $1 = '13800000007', $2 = '1', $10 = 'cloudbox'",
        ]
        .map(str::to_owned);
        assert_eq!(
            repeatable_select(&log, 13_800_000_000..=13_800_000_009).unwrap(),
            "SELECT a, (SELECT x FROM own WHERE source = 'cloudbox') FROM identifiers WHERE key = (:phone)::text \
             LIMIT '1'"
        );
        assert_eq!(repeatable_select(&log[..1], 0..=1), None);
    }
}
